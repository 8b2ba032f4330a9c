/** Containers of workloads, from the runtimes of this machine. A runtime that fails hides nothing of the others. */
import { statSync } from "node:fs";
import { dirname, join } from "node:path";
import type { WantedProcesses } from "../../interfaces/discovery.js";
import { matchesGlob } from "../../inventory/glob.js";
import type { ReportedInstance } from "../../model/endpoints.js";
import type { ContainerPattern } from "../../model/objects.js";

interface Asked extends Listing {
  readonly isFailed?: true;
}

/**
 * Returns whether a newborn container is certainly no wanted workload's: its runtime says so, or every runtime answered and none
 * knows it. A runtime knows a container before it makes the cgroup.
 */
function isStranger(id: string, listings: readonly (Asked | null)[], matches: (one: Container) => boolean): boolean {
  const asked = listings.filter((listing) => listing !== null);
  const running = asked.flatMap(({ containers }) => containers.find((one) => one.id === id) ?? [])[0];
  if (running !== undefined) return !matches(running);
  const said = asked.flatMap(({ newborns }) => newborns.get(id) ?? []);
  if (said.length > 0) return !said.includes(true);
  return asked.length > 0 && asked.every(({ isFailed }) => isFailed !== true);
}

/** A container that runs. Its texts are those of whoever made it. */
export interface Container {
  readonly id: string;
  readonly name: string;
  /** The names of its image: as it was asked for, and as the runtime calls it. */
  readonly images: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** Path below the cgroup root. */
  readonly cgroup: string;
  /** See ProcessDiscovery; empty: it shares the host's network namespace. */
  readonly addresses: readonly string[];
}

/** What the list of a runtime says of a container: enough to know whether to ask further. */
export type NamedContainer = Pick<Container, "name" | "labels">;

export interface Listing {
  readonly containers: readonly Container[];
  readonly problems: readonly string[];
  /** The newborn containers that the runtime knows, whether they run or not: whether their names are wanted. */
  readonly newborns: ReadonlyMap<string, boolean>;
}

export interface ContainerRuntime {
  /** For problems: `Docker at /run/docker.sock`. */
  readonly name: string;
  /**
   * Returns the containers that run; null if this machine has no such runtime. Bounded in size and time.
   * @param isWanted those for which it is false may be left out
   * @param newborns IDs of containers whose cgroups were made, and that may not run yet
   * @throws Error if the runtime does not answer, or must not be believed
   */
  list(isWanted: (container: NamedContainer) => boolean, newborns?: readonly string[]): Promise<Listing | null>;
  /** Calls when containers may have come or gone. Resolves when the signal has aborted; never rejects. */
  watch(signal: AbortSignal, onChange: () => void): Promise<void>;
}

export interface ContainersFound {
  readonly instances: readonly ReportedInstance[];
  readonly problems: readonly string[];
  /** The newborn containers that are no wanted workload's. */
  readonly strangers: readonly string[];
  /** Folders in which cgroups of containers come and go, as absolute paths. */
  readonly folders: readonly string[];
}

export class ContainerFinder {
  /** What each runtime listed last, with the inodes of the cgroups. */
  readonly #latest = new Map<ContainerRuntime, ReadonlyMap<Container, number>>();

  /** @param cgroupRoot the mount point of cgroup v2 */
  constructor(
    private readonly runtimes: readonly ContainerRuntime[],
    private readonly cgroupRoot: string,
  ) {}

  /** @param newborns see ProcessDiscovery */
  async find(wanted: readonly WantedProcesses[], newborns: readonly string[] = []): Promise<ContainersFound> {
    const patterns = wanted.flatMap(({ workload, pattern }) =>
      "container" in pattern ? [{ workload, pattern: pattern.container }] : [],
    );
    if (patterns.length === 0) return { instances: [], problems: [], strangers: newborns, folders: [] };
    const isWanted = (one: NamedContainer): boolean => patterns.some(({ pattern }) => matchesNames(pattern, one));
    const listings = await Promise.all(this.runtimes.map((runtime) => this.#list(runtime, isWanted, newborns)));
    const problems = listings.flatMap((listing) => listing?.problems ?? []);
    if (listings.every((listing) => listing === null))
      problems.push(`no container runtime is found: ${this.runtimes.map(({ name }) => `no ${name}`).join(", ")}`);
    // One runtime may serve two sockets.
    const containers = new Map(
      listings.flatMap((listing) => (listing?.containers ?? []).map((one) => [one.cgroup, one] as const)),
    );
    const matches = (one: Container): boolean => patterns.some(({ pattern }) => matchesContainer(pattern, one));
    return {
      strangers: newborns.filter((id) => isStranger(id, listings, matches)),
      instances: patterns.flatMap(({ workload, pattern }) =>
        [...containers.values()]
          .filter((one) => matchesContainer(pattern, one))
          .map(({ name, cgroup, addresses }) => ({ workload, instance: name, cgroup, addresses, ports: [] })),
      ),
      problems,
      folders: [...new Set([...containers.keys()].map((cgroup) => dirname(join(this.cgroupRoot, cgroup))))],
    };
  }

  async watch(signal: AbortSignal, onChange: () => void): Promise<void> {
    await Promise.all(this.runtimes.map((runtime) => runtime.watch(signal, onChange)));
  }

  /** A runtime that fails takes nothing away: its containers count for as long as their cgroups exist. */
  async #list(
    runtime: ContainerRuntime,
    isWanted: (container: NamedContainer) => boolean,
    newborns: readonly string[],
  ): Promise<Asked | null> {
    try {
      const listing = await runtime.list(isWanted, newborns);
      const known = (listing?.containers ?? []).flatMap((one) => {
        const inode = this.#inode(one);
        return inode === null ? [] : [[one, inode] as const];
      });
      this.#latest.set(runtime, new Map(known));
      return listing === null ? null : { ...listing, containers: known.map(([one]) => one) };
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      const known = [...(this.#latest.get(runtime) ?? [])].filter(([one, inode]) => this.#inode(one) === inode);
      const problem = `${runtime.name} cannot be asked for containers, so that new ones are not found: ${why}`;
      return { containers: known.map(([one]) => one), problems: [problem], newborns: new Map(), isFailed: true };
    }
  }

  #inode({ cgroup }: Container): number | null {
    return statSync(join(this.cgroupRoot, cgroup), { throwIfNoEntry: false })?.ino ?? null;
  }
}

function matchesNames({ name, labels = {} }: ContainerPattern, container: NamedContainer): boolean {
  return (
    (name === undefined || matchesGlob(name, container.name)) &&
    Object.entries(labels).every(
      ([key, value]) => Object.hasOwn(container.labels, key) && container.labels[key] === value,
    )
  );
}

function matchesContainer(pattern: ContainerPattern, container: Container): boolean {
  const { image } = pattern;
  return (
    matchesNames(pattern, container) && (image === undefined || container.images.some((one) => matchesGlob(image, one)))
  );
}
