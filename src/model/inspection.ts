/** What a machine's kernel holds of ztap's, without reference to any store. */

export interface InspectedLink {
  readonly workload: string;
  readonly hook: string;
  readonly programId: number;
  /** Path of the cgroup that it is attached to; null where that cgroup is gone. */
  readonly cgroup: string | null;
}

export interface InspectedNode {
  readonly node: string;
  readonly abiVersion: number | null;
  readonly epoch: string;
  /** Entries of the tables in force. */
  readonly addresses: number;
  readonly ports: number;
  readonly links: readonly InspectedLink[];
  /** Programs on the same cgroups that are not ztap's; they are left alone. */
  readonly foreign: readonly { readonly cgroup: string; readonly hook: string; readonly programId: number; readonly name: string }[];
}

export interface Removal {
  readonly nodes: readonly string[];
  readonly links: number;
}
