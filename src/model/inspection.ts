/** What a machine holds of ztap's, without reference to any store, and what it would hold. */
import type { Rule } from "./ruleset.js";

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

/** What pf holds of ztap's. */
export interface InspectedPf {
  readonly anchor: string;
  /** Whose rules were loaded last; null where that is not known. */
  readonly node: string | null;
  readonly enabled: boolean;
  /** Whether ztap is among those who keep pf enabled. */
  readonly reference: boolean;
  /** Whether pf's main ruleset comes to the anchor. */
  readonly linked: boolean;
  /** As pfctl prints them. */
  readonly rules: readonly string[];
  readonly tables: readonly string[];
  /** By the rules' labels; decimal text, since counters are 64-bit numbers. */
  readonly packets: readonly { readonly label: string; readonly packets: string }[];
}

/** What a machine holds; on macOS in pf, on Linux for each of its nodes in the kernel. */
export interface InspectedMachine {
  readonly nodes: readonly InspectedNode[];
  /** Null on Linux. */
  readonly pf: InspectedPf | null;
}

/** What a backend would hold for a node. */
export interface RenderedRuleset {
  readonly backend: "ebpf" | "pf";
  readonly node: string;
  /** What pfctl would be given; null for eBPF, whose tables are no text. */
  readonly text: string | null;
  /** Of eBPF's tables. */
  readonly entries: readonly { readonly kind: string; readonly what: string; readonly value: string }[];
  /** What the backend cannot say. */
  readonly refusals: readonly {
    readonly workload: string;
    readonly rule?: Rule;
    readonly message: string;
    readonly fix: string;
  }[];
}

/** A change of pf.conf, as texts. */
export interface SetupPlan {
  readonly conf: string;
  /** The line that it is about. */
  readonly line: string;
  readonly before: string;
  /** Equal to `before` where nothing is to be done. */
  readonly after: string;
}

export interface SetupResult {
  readonly conf: string;
  readonly changed: boolean;
  /** Where the file that was there is kept; null where nothing was changed. */
  readonly backup: string | null;
}
