/** A machine as discovery sees it: cgroups and containers that a test makes and removes. */
import { Notifier } from "../../src/interfaces/notifier.js";
import type { FoundProcesses, ProcessDiscovery, WantedProcesses } from "../../src/interfaces/discovery.js";
import { matchesGlob } from "../../src/inventory/glob.js";
import { systemUnitOf, refuseClaim } from "../../src/inventory/process.js";
import type { ReportedInstance } from "../../src/model/endpoints.js";
import type { ContainerPattern, ProcessPattern } from "../../src/model/objects.js";

export interface FakeContainer {
  readonly name: string;
  readonly image: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly addresses: readonly string[];
}

export class FakeDiscovery implements ProcessDiscovery {
  readonly os = "linux";
  addresses: readonly string[] = [];
  problems: readonly string[] = [];
  /** By cgroup; null for one without a container. */
  readonly #cgroups = new Map<string, FakeContainer | null>();
  readonly #watchers = new Set<Notifier>();

  create(cgroup: string, container: FakeContainer | null = null): void {
    this.#cgroups.set(cgroup, container);
    for (const watcher of this.#watchers) watcher.notify();
  }

  remove(cgroup: string): void {
    this.#cgroups.delete(cgroup);
    for (const watcher of this.#watchers) watcher.notify();
  }

  async discover(wanted: readonly WantedProcesses[]): Promise<FoundProcesses> {
    const { os, addresses, problems } = this;
    const instances = wanted.flatMap(({ workload, pattern }) =>
      "host" in pattern
        ? [{ workload, instance: "", cgroup: "", addresses: [], ports: [] }]
        : [...this.#cgroups].flatMap(([cgroup, container]) => toInstance(workload, pattern, cgroup, container) ?? []),
    );
    const order = ({ workload, instance, cgroup }: ReportedInstance): string => `${workload} ${instance} ${cgroup}`;
    return { os, addresses, problems, instances: instances.sort((a, b) => (order(a) < order(b) ? -1 : 1)) };
  }

  async *watch(signal: AbortSignal): AsyncGenerator<undefined, void, undefined> {
    const notifier = new Notifier();
    this.#watchers.add(notifier);
    try {
      for (let isOver = signal.aborted; !isOver; isOver = !(await notifier.wait(signal))) yield undefined;
    } finally {
      this.#watchers.delete(notifier);
    }
  }
}

function toInstance(
  workload: string,
  pattern: ProcessPattern,
  cgroup: string,
  container: FakeContainer | null,
): ReportedInstance | null {
  const rest = { workload, cgroup, addresses: container?.addresses ?? [], ports: [] };
  if ("container" in pattern)
    return container !== null && matchesContainer(pattern.container, container)
      ? { ...rest, instance: container.name }
      : null;
  const names = ["", cgroup, systemUnitOf(cgroup) ?? ""];
  const instance = names.find((name) => refuseClaim(pattern, { cgroup, instance: name }) === null);
  return instance === undefined ? null : { ...rest, addresses: [], instance };
}

function matchesContainer({ name, image, labels = {} }: ContainerPattern, container: FakeContainer): boolean {
  return (
    (name === undefined || matchesGlob(name, container.name)) &&
    (image === undefined || matchesGlob(image, container.image)) &&
    Object.entries(labels).every(([key, value]) => container.labels[key] === value)
  );
}
