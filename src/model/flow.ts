/** Flow: a verdict as the agent tells it, with the names of the state in force; and what could not be told. */
import type { Direction } from "./ruleset.js";

export type Verdict = "allowed" | "denied" | "audited";

export interface FlowEvent {
  readonly kind: "verdict";
  /** RFC 3339, UTC. */
  readonly time: string;
  readonly node: string;
  /** `namespace/name`; null where the state that knew it is gone. */
  readonly workload: string | null;
  readonly direction: Direction;
  readonly verdict: Verdict;
  /** `call`: a connect or sendto that was refused before there was a packet. */
  readonly hook: "packet" | "call";
  /** TCP, UDP, SCTP, ICMP or the number of another protocol; null where it could not be known. */
  readonly protocol: string | null;
  /** The port that policy is asked for: the destination's, seen in the direction of the packet. */
  readonly port: number | null;
  readonly icmp: { readonly type: number; readonly code: number } | null;
  readonly localPort: number | null;
  readonly peer: {
    readonly address: string;
    readonly port: number | null;
    /** Workloads that the state declares with this address. */
    readonly workloads: readonly string[];
  };
  /** The rule that allows; null where none decided. */
  readonly rule: FlowRule | null;
  /** The policies that isolate the workload in this direction: what refuses, where nothing allows. */
  readonly policies: readonly FlowPolicy[];
}

export interface FlowRule extends FlowPolicy {
  /** Place in the policy's list of the rule's own direction, from 0. */
  readonly index: number;
  /** An answer passes by the rule of the other direction. */
  readonly direction: Direction;
}

export interface FlowPolicy {
  /** `namespace/name` */
  readonly policy: string;
  readonly file: string | null;
  readonly line: number | null;
}

/** What was not told since the last gap that this reader was told of. */
export interface FlowGap {
  readonly kind: "gap";
  readonly time: string;
  /** Over the rate of their workload. */
  readonly limited: number;
  /** The agent was too slow, or away. */
  readonly lost: number;
  /** This reader was too slow. */
  readonly dropped: number;
}

export type FlowMessage = FlowEvent | FlowGap;

/** The answer to a reader that asks for a workload that the agent's node does not have. */
export interface FlowRefusal {
  readonly kind: "refusal";
  readonly node: string;
  /** As it was asked for. */
  readonly workload: string;
  /** What was most likely meant; null for nothing that resembles it. */
  readonly meant: string | null;
}

/** What a reader asks for; null: everything. */
export interface FlowQuery {
  /** Goes on with what comes after what is remembered. */
  readonly follow: boolean;
  readonly verdict: Verdict | null;
  /** `namespace/name` */
  readonly workload: string | null;
  readonly direction: Direction | null;
}

/** Gaps concern every reader. */
export function matchesFlow(query: FlowQuery, message: FlowMessage): boolean {
  if (message.kind === "gap") return true;
  return (
    (query.verdict === null || query.verdict === message.verdict) &&
    (query.workload === null || query.workload === message.workload) &&
    (query.direction === null || query.direction === message.direction)
  );
}
