/** Wiring of discovery: how this machine finds the processes of workloads. */
import { findCgroupMount } from "../adapters/system/cgroup-mount.js";
import type { OpenFolderWatch } from "../adapters/discovery/change-watch.js";
import type { ProcessDiscovery } from "../interfaces/discovery.js";
import { EnforcerError } from "../interfaces/enforcer.js";
import type { Logger } from "../interfaces/system.js";

export async function openDiscovery(logger: Logger): Promise<ProcessDiscovery> {
  if (process.platform !== "linux") {
    const { AddressDiscovery } = await import("../adapters/discovery/no-processes.js");
    return new AddressDiscovery(process.platform);
  }
  const { LinuxDiscovery } = await import("../adapters/discovery/discovery.js");
  const { NO_CONTAINERS } = await import("../adapters/discovery/containers.js");
  return new LinuxDiscovery({
    cgroupRoot: findCgroupMount()?.point ?? null,
    containers: NO_CONTAINERS,
    openWatch: await findWatch(logger),
  });
}

/** Without the addon, which an agent with `--backend none` does not need, changes are found at each check. */
async function findWatch(logger: Logger): Promise<OpenFolderWatch | null> {
  const { loadNative } = await import("../adapters/ebpf/kernel/native.js");
  const { openFolderWatch } = await import("../adapters/discovery/change-watch.js");
  try {
    const native = loadNative();
    return (notifier) => openFolderWatch(native, notifier);
  } catch (error) {
    if (!(error instanceof EnforcerError)) throw error;
    logger.warn(`changes on this machine are found at each check, not at once: ${error.message}`);
    return null;
  }
}
