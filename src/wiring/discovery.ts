/** Wiring of discovery: how this machine finds the processes of workloads. */
import { findCgroupMount, type CgroupMount } from "../adapters/system/cgroup-mount.js";
import { systemClock } from "../adapters/system/clock.js";
import type { Native } from "../adapters/ebpf/kernel/native.js";
import type { ContainerRuntime } from "../adapters/discovery/containers.js";
import type { ProcessDiscovery } from "../interfaces/discovery.js";
import { EnforcerError } from "../interfaces/enforcer.js";
import type { Logger } from "../interfaces/system.js";
import type { Settings } from "../settings/settings.js";

export async function openDiscovery(
  { containers }: Pick<Settings, "containers">,
  logger: Logger,
): Promise<ProcessDiscovery> {
  if (process.platform !== "linux") {
    const { AddressDiscovery } = await import("../adapters/discovery/no-processes.js");
    return new AddressDiscovery(process.platform);
  }
  const { LinuxDiscovery } = await import("../adapters/discovery/discovery.js");
  const { ContainerFinder } = await import("../adapters/discovery/containers.js");
  const { openFolderWatch } = await import("../adapters/system/folder-watch.js");
  const { ListeningPorts } = await import("../adapters/discovery/listening-ports.js");
  const mount = findCgroupMount();
  const native = await findNative(logger);
  const runtimes = mount === null ? [] : await openRuntimes(containers, mount);
  return new LinuxDiscovery({
    cgroupRoot: mount?.point ?? null,
    containers: new ContainerFinder(runtimes, mount?.point ?? "/"),
    openWatch: native === null ? null : (notifier) => openFolderWatch(native, notifier),
    listeningPorts: native === null || mount === null ? null : new ListeningPorts(native, mount.point),
  });
}

async function openRuntimes(
  { docker, podman, cri }: Settings["containers"],
  mount: CgroupMount,
): Promise<readonly ContainerRuntime[]> {
  const { DockerRuntime } = await import("../adapters/discovery/docker.js");
  const open = (product: string, socket: string | null): readonly ContainerRuntime[] =>
    socket === null ? [] : [new DockerRuntime({ product, socket, mount, clock: systemClock })];
  if (cri === null) return [...open("Docker", docker), ...open("podman", podman)];
  const { CriRuntime } = await import("../adapters/discovery/cri.js");
  const kubernetes = new CriRuntime({ socket: cri, mount, clock: systemClock });
  return [...open("Docker", docker), ...open("podman", podman), kubernetes];
}

/** Without the addon, which an agent with `--backend none` does not need, changes are found at each check, and ports are not. */
async function findNative(logger: Logger): Promise<Native | null> {
  const { loadNative } = await import("../adapters/ebpf/kernel/native.js");
  try {
    return loadNative();
  } catch (error) {
    if (!(error instanceof EnforcerError)) throw error;
    logger.warn(`changes on this machine are found at each check, not at once: ${error.message}`);
    return null;
  }
}
