/** ProcessDiscovery on Linux: units and cgroups from the cgroup tree, containers from their runtimes. */
import type { FoundProcesses, ProcessDiscovery, WantedProcesses } from "../../interfaces/discovery.js";
import { Notifier } from "../../interfaces/notifier.js";
import { refuseClaim, systemUnitOf } from "../../inventory/process.js";
import type { ReportedInstance } from "../../model/endpoints.js";
import { CgroupWalk, MOST_FOLDERS } from "./cgroup-walk.js";
import type { FolderWatch, OpenFolderWatch } from "../system/folder-watch.js";
import type { ContainerFinder } from "./containers.js";
import type { ListeningPorts } from "./listening-ports.js";
import { nodeAddresses } from "./node-addresses.js";

export interface LinuxDiscoveryOptions {
  /** The mount point of cgroup v2; null if it is not mounted. */
  readonly cgroupRoot: string | null;
  readonly containers: ContainerFinder;
  /** Null if this machine cannot watch: then the agent's regular check finds all changes. */
  readonly openWatch: OpenFolderWatch | null;
  /** Null if this machine cannot tell who listens. */
  readonly listeningPorts?: ListeningPorts | null;
  /** See MOST_FOLDERS. */
  readonly mostFolders?: number;
}

export class LinuxDiscovery implements ProcessDiscovery {
  readonly os = "linux";
  readonly #options: LinuxDiscoveryOptions;
  readonly #watches = new Set<FolderWatch>();
  #folders: readonly string[] = [];

  constructor(options: LinuxDiscoveryOptions) {
    this.#options = options;
  }

  async discover(wanted: readonly WantedProcesses[], newborns: readonly string[] = []): Promise<FoundProcesses> {
    const { cgroupRoot, mostFolders = MOST_FOLDERS } = this.#options;
    const found: FoundProcesses = { os: this.os, addresses: nodeAddresses(), instances: [], problems: [] };
    const hosts = wanted.flatMap(({ workload, pattern }) => ("host" in pattern ? [instanceOf(workload, "", "")] : []));
    if (cgroupRoot === null) {
      const problems = wanted.length > hosts.length ? ["cgroup v2 is not mounted: no process is found"] : [];
      return { ...found, instances: hosts.sort(compare), problems };
    }
    const walk = new CgroupWalk(cgroupRoot, mostFolders);
    const inTree = await findInTree(wanted, walk);
    const inContainers = await this.#options.containers.find(wanted, newborns);
    this.#folders = [...walk.opened, ...inContainers.folders];
    for (const watch of this.#watches) watch.update(this.#folders);
    const all = [...hosts, ...inTree.instances, ...inContainers.instances].sort(compare);
    const asked = new Set(wanted.flatMap(({ workload, needsPorts }) => (needsPorts === true ? [workload] : [])));
    const listening = await this.#options.listeningPorts?.find(all, ({ workload }) => asked.has(workload));
    return {
      ...found,
      instances: listening?.instances ?? all,
      problems: [...inTree.problems, ...inContainers.problems, ...(listening?.problems ?? [])],
      newborns: { strangers: inContainers.strangers, isTreeRead: inTree.problems.length === 0 },
    };
  }

  async *watch(signal: AbortSignal): AsyncGenerator<undefined, void, undefined> {
    const notifier = new Notifier();
    const watch = this.#options.openWatch?.(notifier) ?? null;
    if (watch !== null) this.#watches.add(watch);
    watch?.update(this.#folders);
    const ended = new AbortController();
    const end = (): void => ended.abort();
    signal.addEventListener("abort", end);
    const events = this.#options.containers.watch(ended.signal, () => notifier.notify());
    try {
      for (let isOver = signal.aborted; !isOver; isOver = !(await notifier.wait(signal))) yield undefined;
    } finally {
      signal.removeEventListener("abort", end);
      ended.abort();
      if (watch !== null) this.#watches.delete(watch);
      watch?.close();
      await events;
    }
  }
}

interface InTree {
  readonly instances: readonly ReportedInstance[];
  readonly problems: readonly string[];
}

async function findInTree(wanted: readonly WantedProcesses[], walk: CgroupWalk): Promise<InTree> {
  // Units are also searched for containers: a runtime that lets systemd make its cgroups makes scopes in slices.
  const needsUnits = wanted.some(({ pattern }) => "systemdUnit" in pattern || "container" in pattern);
  const units = needsUnits ? await walk.findUnits() : { cgroups: [], problem: null };
  const instances: ReportedInstance[] = [];
  const problems = new Set(units.problem === null ? [] : [units.problem]);
  for (const { workload, pattern } of wanted) {
    if (!("systemdUnit" in pattern) && !("cgroup" in pattern)) continue;
    const found = "cgroup" in pattern ? await walk.findMatches(pattern.cgroup) : units;
    if (found.problem !== null) problems.add(found.problem);
    for (const cgroup of found.cgroups) {
      const names = ["", cgroup, systemUnitOf(cgroup) ?? ""];
      const name = names.find((instance) => refuseClaim(pattern, { cgroup, instance }) === null);
      if (name !== undefined) instances.push(instanceOf(workload, name, cgroup));
    }
  }
  return { instances, problems: [...problems] };
}

function instanceOf(workload: string, instance: string, cgroup: string): ReportedInstance {
  return { workload, instance, cgroup, addresses: [], ports: [] };
}

function compare(a: ReportedInstance, b: ReportedInstance): number {
  return order(a.workload, b.workload) || order(a.instance, b.instance) || order(a.cgroup, b.cgroup);
}

const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
