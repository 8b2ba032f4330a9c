/** What a machine's kernel holds of ztap's, without reference to any store. */

export interface InspectedLink {
  readonly workload: string;
  readonly hook: string;
  readonly programId: number;
  /** Path of the cgroup below the cgroup root; null where that cgroup is gone, or the link was detached. */
  readonly cgroup: string | null;
}

export interface EntryCounts {
  readonly addresses: number;
  readonly ports: number;
}

export interface InspectedNode {
  readonly node: string;
  /** Version of the structures that programs and agent share. */
  readonly abi: number | null;
  /** Rises with every ruleset that was put in force; decimal text, since it is a 64-bit number. */
  readonly epoch: string | null;
  readonly links: readonly InspectedLink[];
  /** Entries of the set of tables in force, and of the other. */
  readonly entries: { readonly active: EntryCounts; readonly idle: EntryCounts };
  /** Programs on the same cgroups that are not ztap's; they are left alone. */
  readonly foreign: readonly { readonly cgroup: string; readonly hook: string; readonly programId: number }[];
}

/** A node whose enforcement was taken away, with the workloads that it covered. */
export interface Removed {
  readonly node: string;
  readonly workloads: readonly string[];
}
