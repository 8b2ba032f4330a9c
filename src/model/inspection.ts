/** The enforcement that a machine holds, read without any store, and the enforcement that it would hold. */
import type { Rule } from "./ruleset.js";

export interface InspectedLink {
  readonly workload: string;
  readonly hook: string;
  readonly programId: number;
  /** Path of the cgroup below the cgroup root; null if that cgroup is gone, or the link was detached. */
  readonly cgroup: string | null;
}

export interface EntryCounts {
  readonly addresses: number;
  readonly ports: number;
}

export interface InspectedNode {
  readonly node: string;
  /** Version of the structures that the eBPF programs and the agent share. */
  readonly abi: number | null;
  /** Rises with every ruleset that comes into force; decimal text, since it is a 64-bit number. */
  readonly epoch: string | null;
  readonly links: readonly InspectedLink[];
  /** Entries of the table set in force, and of the other one. */
  readonly entries: { readonly active: EntryCounts; readonly idle: EntryCounts };
  /** Programs of others on the same cgroups; ztap leaves them alone. */
  readonly foreign: readonly { readonly cgroup: string; readonly hook: string; readonly programId: number }[];
  /** IP sockets in isolated workloads that belong to other cgroups, and how many of them are refused. */
  readonly sockets: { readonly found: number; readonly refused: number };
  /** Patterns that newborn cgroups are compared with, and newborn cgroups of any kind that no programs are attached to yet. */
  readonly newborns: { readonly patterns: number; readonly waiting: number };
  /** Workloads that a user other than root can leave: by writing to that cgroup. */
  readonly delegated: readonly { readonly workload: string; readonly cgroup: string }[];
}

/** A node whose enforcement was removed, with the workloads that it covered. */
export interface Removed {
  readonly node: string;
  readonly workloads: readonly string[];
}

/** The rules and tables that ztap holds in pf. */
export interface InspectedPf {
  readonly anchor: string;
  /** The node whose rules were loaded last; null if that is not known. */
  readonly node: string | null;
  readonly enabled: boolean;
  /** Whether ztap holds one of the references that keep pf enabled. */
  readonly reference: boolean;
  /** Whether pf's main ruleset evaluates the anchor. */
  readonly linked: boolean;
  /** As pfctl prints them. */
  readonly rules: readonly string[];
  readonly tables: readonly string[];
  /** By the labels of the rules; decimal text, since counters are 64-bit numbers. */
  readonly packets: readonly { readonly label: string; readonly packets: string }[];
}

/** The enforcement that a machine holds: in pf on macOS, in the kernel for each of its nodes on Linux. */
export interface InspectedMachine {
  readonly nodes: readonly InspectedNode[];
  /** Null on Linux. */
  readonly pf: InspectedPf | null;
}

/** The rules and tables that a backend would hold for a node. */
export interface RenderedRuleset {
  readonly backend: "ebpf" | "pf";
  readonly node: string;
  /** The text that pfctl would get; null for eBPF, whose tables have no text form. */
  readonly text: string | null;
  /** The entries of the eBPF tables. */
  readonly entries: readonly { readonly kind: string; readonly what: string; readonly value: string }[];
  /** The parts of the ruleset that the backend cannot express. */
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
  /** The line that the change adds or removes. */
  readonly line: string;
  readonly before: string;
  /** Equal to `before` if nothing has to change. */
  readonly after: string;
}

export interface SetupResult {
  readonly conf: string;
  readonly changed: boolean;
  /** Path of the copy of the previous file; null if nothing was changed. */
  readonly backup: string | null;
}
