/** Containers of workloads, from the runtimes of this machine. */
import type { WantedProcesses } from "../../interfaces/discovery.js";
import { matchesGlob } from "../../inventory/glob.js";
import type { ReportedInstance } from "../../model/endpoints.js";
import type { ContainerPattern } from "../../model/objects.js";

/** A container that runs. Its texts are those of whoever made it. */
export interface Container {
  readonly id: string;
  readonly name: string;
  /** The names of its image: as it was asked for, and as the runtime calls it. */
  readonly images: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  /** Path below the cgroup root. */
  readonly cgroup: string;
  /** What the host gave its network namespace; empty: it shares the host's. */
  readonly addresses: readonly string[];
}

export interface ContainersFound {
  readonly instances: readonly ReportedInstance[];
  readonly problems: readonly string[];
  /** Folders in which cgroups of containers come and go, as absolute paths. */
  readonly folders: readonly string[];
}

export interface ContainerFinder {
  find(wanted: readonly WantedProcesses[]): Promise<ContainersFound>;
  /** Calls when containers may have come or gone. Resolves when the signal has aborted. */
  watch(signal: AbortSignal, onChange: () => void): Promise<void>;
}

export const NO_CONTAINERS: ContainerFinder = {
  find: (wanted) =>
    Promise.resolve({
      instances: [],
      problems: wanted.some(({ pattern }) => "container" in pattern) ? ["no container runtime is configured"] : [],
      folders: [],
    }),
  watch: () => Promise.resolve(),
};

export function matchesContainer({ name, image, labels = {} }: ContainerPattern, container: Container): boolean {
  return (
    (name === undefined || matchesGlob(name, container.name)) &&
    (image === undefined || container.images.some((one) => matchesGlob(image, one))) &&
    Object.entries(labels).every(
      ([key, value]) => Object.hasOwn(container.labels, key) && container.labels[key] === value,
    )
  );
}
