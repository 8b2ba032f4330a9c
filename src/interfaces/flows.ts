/**
 * Flows: the decisions of a backend, as they happen. An enforcer that can report them has a FlowSource; the agent reads
 * it once, and serves any number of readers.
 */
import type { FlowMessage, FlowQuery, FlowRefusal, Verdict } from "../model/flow.js";
import type { Direction, Rule } from "../model/ruleset.js";

/** One decision, with the names of the ruleset that made it. */
export interface FlowRecord {
  /** Milliseconds since the epoch, with fractions. */
  readonly timeMs: number;
  /** Null if the ruleset that named it is no longer known. */
  readonly workload: string | null;
  readonly direction: Direction;
  readonly verdict: Verdict;
  /** The rule that allows, or denies; null if no rule decided, or if it is no longer known. */
  readonly rule: Rule | null;
  /** Refused at the source, because the destination does not let the workload in. */
  readonly isIdentity?: boolean;
  /** `call`: a connect or sendto that was refused before there was a packet. */
  readonly hook: "packet" | "call";
  /** IP protocol number; 1 also for ICMPv6. Null if it could not be determined. */
  readonly protocol: number | null;
  /** Address of the other end, canonical text. */
  readonly peer: string;
  readonly peerPort: number | null;
  readonly localPort: number | null;
  readonly icmp: { readonly type: number; readonly code: number } | null;
  /** What the coming ruleset decides otherwise, and its rule. Absent: it decides the same, or there is none. */
  readonly shadow?: { readonly verdict: Verdict; readonly rule: Rule | null };
}

/** Statistics counted exactly where the decisions are made: `eligible` is always the sum of the others. */
export interface EventStatistics {
  /** Decisions for which an event is due: denied, audited, and the first of an allowed flow. */
  readonly eligible: bigint;
  /** Passed to the reader. */
  readonly delivered: bigint;
  /** Not emitted, because their workload exceeded its rate limit. */
  readonly limited: bigint;
  /** Lost, because the reader was too slow, or not running. */
  readonly lost: bigint;
}

export interface FlowSource {
  /**
   * Yields batches in the order of each processor's decisions, beginning with the events stored while there was no
   * reader. One reader at a time. Begins when the names of the ruleset in force are known; uses no CPU time without
   * events. Ends with the signal.
   */
  flows(signal: AbortSignal): AsyncIterable<readonly FlowRecord[]>;
  statistics(): EventStatistics;
}

/**
 * The flows that the agent serves: each reader has a queue of its own, and learns the number of events that it missed.
 */
export interface FlowFeed {
  /** Returns a refusal; null if the query is valid, even without any events. */
  refuse(query: FlowQuery): FlowRefusal | null;
  /** Yields the stored events, and with `follow` all new ones, until the signal aborts. */
  open(query: FlowQuery, signal: AbortSignal): AsyncIterable<FlowMessage>;
}
