/**
 * Flows: what a backend decided, as it happens. An enforcer that can tell gives a FlowSource; the agent reads it
 * once, and serves as many readers as there are.
 */
import type { FlowMessage, FlowQuery, FlowRefusal, Verdict } from "../model/flow.js";
import type { Direction, Rule } from "../model/ruleset.js";

/** One decision, with the names of the ruleset that it was made by. */
export interface FlowRecord {
  /** Milliseconds since the epoch, with fractions. */
  readonly timeMs: number;
  /** Null where the ruleset that knew it is gone. */
  readonly workload: string | null;
  readonly direction: Direction;
  readonly verdict: Verdict;
  /** The rule that allows; null where none decided, or where it is not known any more. */
  readonly rule: Rule | null;
  /** `call`: a connect or sendto that was refused before there was a packet. */
  readonly hook: "packet" | "call";
  /** IP protocol number; 1 also for ICMPv6. Null where it could not be known. */
  readonly protocol: number | null;
  /** The other end, canonical text. */
  readonly peer: string;
  readonly peerPort: number | null;
  readonly localPort: number | null;
  readonly icmp: { readonly type: number; readonly code: number } | null;
}

/** Counted where the decisions are made, exactly: `worth` is always the sum of the others. */
export interface EventStatistics {
  /** Decisions that are worth telling: denied, audited, and what begins an allowed flow. */
  readonly eligible: bigint;
  /** Handed over to the reader. */
  readonly delivered: bigint;
  /** Not told, because their workload had too many. */
  readonly limited: bigint;
  /** Not told, because the reader was too slow, or away. */
  readonly lost: bigint;
}

export interface FlowSource {
  /**
   * Batches in the order of each processor's decisions, from what was kept while nobody read. One reader at a time.
   * Begins when the names of the ruleset in force are known; costs nothing while nothing happens. Ends with the signal.
   */
  flows(signal: AbortSignal): AsyncIterable<readonly FlowRecord[]>;
  statistics(): EventStatistics;
}

/** What the agent serves: each reader has a queue of its own, and is told what it missed. */
export interface FlowFeed {
  /** Null where the query can be answered, if only by silence. */
  refuse(query: FlowQuery): FlowRefusal | null;
  /** What is remembered, and with `follow` all that comes, until the signal aborts. */
  open(query: FlowQuery, signal: AbortSignal): AsyncIterable<FlowMessage>;
}
