/** Flow events: verdicts as the agent reports them, with the names of the state in force, and the gaps between them. */
import { workloadOf } from "./endpoints.js";
import type { Direction } from "./ruleset.js";

export type Verdict = "allowed" | "denied" | "audited";

/** What the revision that the node waits for would do with a flow, and what is in force does not. */
export const SHADOW_VERDICTS = ["would-deny", "would-allow"] as const;
export type ShadowVerdict = (typeof SHADOW_VERDICTS)[number];

export interface FlowEvent {
  readonly kind: "verdict";
  /** RFC 3339, UTC. */
  readonly time: string;
  readonly node: string;
  /** `namespace/name`; null if the state that named the workload is no longer known. */
  readonly workload: string | null;
  readonly direction: Direction;
  readonly verdict: Verdict;
  /** `call`: a connect or sendto that was refused before there was a packet. */
  readonly hook: "packet" | "call";
  /** TCP, UDP, SCTP, ICMP or the number of another protocol; null if it could not be determined. */
  readonly protocol: string | null;
  /** The port that the policy is evaluated for: the destination port of the packet. */
  readonly port: number | null;
  readonly icmp: { readonly type: number; readonly code: number } | null;
  readonly localPort: number | null;
  readonly peer: {
    readonly address: string;
    readonly port: number | null;
    /** All workloads that the state declares with this address. */
    readonly workloads: readonly string[];
  };
  /** The rule that allows, or denies; null if no rule decided. */
  readonly rule: FlowRule | null;
  /**
   * The policies that isolate the workload in this direction. If no rule allows, they are the reason for the denial.
   */
  readonly policies: readonly FlowPolicy[];
  /** Only for what is refused at the source, since the destination does not let the workload in. */
  readonly identity?: {
    /** The workloads that have the destination's address and port. */
    readonly destinations: readonly string[];
    /** The workloads that share an address with the sender: the destination may let these in. */
    readonly sharing: readonly string[];
  };
  /** Only where the revision that the node waits for decides otherwise; see docs/adr/0026-shadow.md. */
  readonly shadow?: {
    /** In its own words: allowed, denied or audited. */
    readonly verdict: Verdict;
    /** Its rule; null if none decides. */
    readonly rule: FlowRule | null;
    /** Its policies that isolate the workload in this direction. */
    readonly policies: readonly FlowPolicy[];
  };
}

export interface FlowRule extends FlowPolicy {
  /** Index in the policy's list of the rule's own direction, from 0. */
  readonly index: number;
  /** A reply passes by the rule of the other direction. */
  readonly direction: Direction;
}

export interface FlowPolicy {
  /** `namespace/name` */
  readonly policy: string;
  readonly file: string | null;
  readonly line: number | null;
}

/** The number of events that this reader did not get since its last gap message. */
export interface FlowGap {
  readonly kind: "gap";
  readonly time: string;
  /** Events over the rate limit of their workload. */
  readonly limited: number;
  /** Events lost because the agent was too slow, or not running. */
  readonly lost: number;
  /** Events dropped because this reader was too slow. */
  readonly dropped: number;
}

export type FlowMessage = FlowEvent | FlowGap;

/** The answer to a reader that names a workload that the agent's node does not have. */
export interface FlowRefusal {
  readonly kind: "refusal";
  readonly node: string;
  /** The name as the reader gave it. */
  readonly workload: string;
  /** The name that was most likely meant; null if no name is similar. */
  readonly meant: string | null;
}

/** The events that a reader wants; a field that is null matches everything. */
export interface FlowQuery {
  /** Continues with new events after the stored ones. */
  readonly follow: boolean;
  /** `would-deny`, `would-allow`: those that the coming revision decides otherwise. */
  readonly verdict: Verdict | ShadowVerdict | null;
  /** `namespace/name`, for all of its instances, or the name of one instance. */
  readonly workload: string | null;
  readonly direction: Direction | null;
}

/** Returns whether a subject is this one, or an instance of this workload. */
export function isSubjectOf(subject: string | null, name: string): boolean {
  return subject !== null && (subject === name || workloadOf(subject) === name);
}

/** Returns whether a message is of a workload of the namespace. Gaps concern every reader, and so does no namespace. */
export function isOfNamespace(message: FlowMessage, namespace: string | undefined): boolean {
  return namespace === undefined || message.kind === "gap" || message.workload?.startsWith(`${namespace}/`) === true;
}

/** Returns what the revision that the node waits for would do; null if it is the same, or there is none. */
export function shadowVerdictOf({ shadow }: FlowEvent): ShadowVerdict | null {
  if (shadow === undefined) return null;
  return shadow.verdict === "denied" ? "would-deny" : "would-allow";
}

/** Returns whether a message matches the query. Gaps concern every reader. */
export function matchesFlow(query: FlowQuery, message: FlowMessage): boolean {
  if (message.kind === "gap") return true;
  return (
    (query.verdict === null || query.verdict === message.verdict || query.verdict === shadowVerdictOf(message)) &&
    (query.workload === null || isSubjectOf(message.workload, query.workload)) &&
    (query.direction === null || query.direction === message.direction)
  );
}
