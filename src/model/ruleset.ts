/**
 * Ruleset: the policy that one node must enforce at one revision. The compiler makes it, the evaluator reads it, and
 * every backend lowers it to its own tables. It holds addresses, protocols and ports, but no labels.
 */
import type { Protocol, Toleration } from "./objects.js";
import type { OverrideKind } from "./override.js";

export type Direction = "ingress" | "egress";

/** `open`: not isolated. `enforce`: packets that no rule allows are dropped. `audit`: they are counted and pass. */
export type IsolationMode = "open" | "enforce" | "audit";

/** One entry of a policy's `ingress` or `egress` list. */
export interface Rule {
  /**
   * `namespace/policy/direction/digest of the rule`: unique in a ruleset, and stable across revisions when the rule
   * moves within the policy's list.
   */
  readonly key: string;
  readonly policy: { readonly namespace: string; readonly name: string };
  readonly direction: Direction;
  readonly index: number;
  readonly file?: string;
  readonly line?: number;
}

/**
 * First and last port, both inclusive. For ICMP a "port" is `type << 8 | code`. `[0, 65535]` stands for every port, and
 * is the only range that matches a packet whose ports are not known (a later fragment).
 */
export interface PortRange {
  readonly protocol: Protocol;
  readonly first: number;
  readonly last: number;
}

/** Any of the peers on any of the ports: a part of a rule. A rule may have several clauses (named ports). */
export interface Clause {
  /** Index into the profile's `rules`; null in an identity profile, whose clauses have no rule of their own. */
  readonly rule: number | null;
  /** Only if the clause denies what it matches. */
  readonly effect?: "deny";
  /**
   * `any`, or CIDRs in canonical text: disjoint, merged, sorted; IPv4 and IPv6 mixed. Empty only if there are unplaced
   * peers.
   */
  readonly peers: "any" | readonly string[];
  /**
   * Peers whose addresses are not known, `namespace/name`, sorted; only in a ruleset of the whole state. Absent: none.
   */
  readonly unplaced?: readonly string[];
  /** `any`: every IP protocol. Otherwise never empty. */
  readonly ports: "any" | readonly PortRange[];
  /** Only of an ingress clause with workloads as peers, where senders prove their identity. */
  readonly senders?: Senders;
}

/** The peers of a clause, apart: those by their address, and the workloads. Together they are its `peers`. */
export interface Senders {
  /** CIDRs of ipBlocks and NetworkSets, in canonical text. */
  readonly blocks: readonly string[];
  readonly workloads: readonly Sender[];
}

export interface Sender {
  /** `namespace/name` of the Workload. */
  readonly workload: string;
  readonly addresses: readonly string[];
}

/**
 * The rules of one direction, for one or more subjects. Subjects that the same policies select share one profile. The
 * first matching clause decides. What no clause matches is not allowed; by an identity profile, it is not limited.
 */
export interface Profile {
  /** Identity across revisions: direction and policies, and named-port resolution where it differs. */
  readonly key: string;
  readonly direction: Direction;
  readonly rules: readonly Rule[];
  readonly clauses: readonly Clause[];
}

export interface SubjectDirection {
  readonly mode: IsolationMode;
  /** Key of the profile; null exactly when `mode` is `open`. */
  readonly profile: string | null;
  /** The policies that isolate this direction, `namespace/name`, sorted. */
  readonly policies: readonly string[];
}

/** What of a pattern the kernel compares with a newborn cgroup: a unit in any slice, or a path. See ProcessPattern. */
export type CgroupPattern = { readonly systemdUnit: string } | { readonly cgroup: string };

/** What a cgroup that a pattern matches gets when it is born: all its instances have the same policy. */
export interface BirthTemplate {
  /** Without a cgroup. */
  readonly subject: Subject;
  readonly pattern: CgroupPattern;
}

/** Cgroups that are closed from their birth though no path tells them. */
export interface Births {
  /** Sorted by workload. */
  readonly templates: readonly BirthTemplate[];
  /** Cgroups that look like a container's are closed until the agent has identified them. */
  readonly closesContainers: boolean;
}

/** A workload that this node protects. */
export interface Subject {
  /** `namespace/name`. */
  readonly workload: string;
  /** Path below the cgroup v2 root; null if the workload has none, so that eBPF cannot enforce it. */
  readonly cgroup: string | null;
  /** The workload of the template that its cgroup may have been born under; absent: none. */
  readonly template?: string;
  /** All processes of the node that belong to no other subject; only if it is true, and without a cgroup then. */
  readonly isHost?: true;
  readonly addresses: readonly string[];
  /** The only user whose processes may use the addresses; only if the workload names one, and only pf can check it. */
  readonly user?: string;
  /** Absent: nothing. */
  readonly tolerates?: readonly Toleration[];
  readonly ingress: SubjectDirection;
  readonly egress: SubjectDirection;
  /**
   * Key of the identity profile, which is asked for what the subject sends and its egress policies let pass: the ingress
   * policies of the destinations, for this subject. Absent: its addresses identify it.
   */
  readonly identity?: string;
  /** Holds in place of its policies, until a time in whole seconds since 1970. Absent: none. */
  readonly override?: { readonly kind: OverrideKind; readonly until: number };
}

export interface Ruleset {
  readonly node: string;
  /** SHA-256 of everything below; equal digests mean equal enforcement. Empty for a ruleset of the whole state. */
  readonly digest: string;
  /** Sorted by workload. Every workload of the node, isolated or not. */
  readonly subjects: readonly Subject[];
  /** Sorted by key; only profiles that a subject or a template uses. */
  readonly profiles: readonly Profile[];
  /** Workloads say who they are in their SYNs; only if it is true. */
  readonly hasSynIdentity?: true;
  /** Absent: none. */
  readonly births?: Births;
}

/** The first packet of a connection, as one subject's policy sees it. */
export interface ConnectionQuery {
  readonly workload: string;
  readonly direction: Direction;
  /** Address of the other end, canonical text. */
  readonly peer: string;
  /** IP protocol number: 6, 17, 132, 1 and 58 (both ICMP) or any other. */
  readonly protocol: number;
  /** Destination port; `type << 8 | code` for ICMP; null where the packet has none. */
  readonly port: number | null;
}

export type PolicyVerdict =
  | { readonly verdict: "Allowed"; readonly reason: "not-isolated" }
  | { readonly verdict: "Allowed"; readonly reason: "breakglass" }
  | { readonly verdict: "Denied"; readonly reason: "quarantine" }
  | { readonly verdict: "Allowed"; readonly reason: "rule"; readonly rule: Rule }
  | { readonly verdict: "Allowed"; readonly reason: "audit"; readonly policies: readonly string[] }
  | { readonly verdict: "Denied"; readonly reason: "no-rule"; readonly policies: readonly string[] }
  | { readonly verdict: "Denied"; readonly reason: "rule"; readonly rule: Rule }
  /** At the source: no workload that has the destination lets the subject in. */
  | { readonly verdict: "Denied"; readonly reason: "identity" };
