/**
 * The outbox: what each receiver was told of the commits of the source, and is yet to be told. The leader keeps it in the
 * store, so that the next leader goes on with it.
 */
import type { SourceStatus } from "./status.js";

/**
 * `accepted`: the commit is head, and not every node enforces it yet. `enforced`: every node does. `stalled`: a node
 * cannot. `held`: it waits for an operator. `reverted`: another revision is in force in its place, or a node went back.
 */
export const COMMIT_STATES = ["accepted", "rejected", "held", "enforced", "stalled", "reverted"] as const;
export type CommitState = (typeof COMMIT_STATES)[number];

/** How many nodes a commit has reached. */
export interface CommitReach {
  readonly enforced: number;
  readonly expected: number;
  readonly stalled: number;
  readonly reverted: number;
}

/** The state of a commit, without who is told and when. */
export interface CommitReport {
  readonly commit: string;
  readonly state: CommitState;
  /** One line for people. */
  readonly description: string;
  /** The revision that it became; null if it became none. */
  readonly revision: number | null;
  /** Null if it is not in force. */
  readonly nodes: CommitReach | null;
  /** The first errors of a rejected commit. */
  readonly diagnostics: SourceStatus["diagnostics"];
  /** Without credentials. */
  readonly source: Pick<SourceStatus, "location" | "ref" | "path">;
}

/** One report for one receiver. */
export interface CommitEvent extends CommitReport {
  /** Unique, and the same when the event is sent again. */
  readonly id: string;
  /** RFC 3339, UTC. */
  readonly time: string;
}

export interface PendingDelivery {
  readonly event: CommitEvent;
  /** Attempts that failed. */
  readonly attempts: number;
  /** RFC 3339, UTC: it is not sent before. */
  readonly notBefore: string;
  /** Why the last attempt failed; null before the first. */
  readonly problem: string | null;
}

/** What one receiver knows of one commit. */
export interface CommitDeliveries {
  readonly commit: string;
  /** What it was told last; null if nothing. */
  readonly last: { readonly state: CommitState; readonly description: string; readonly time: string } | null;
  /** How often it was told something. */
  readonly count: number;
  /** Null if it knows everything. */
  readonly pending: PendingDelivery | null;
  /** The last event that it refused, or that was given up; null for none. */
  readonly failed: {
    readonly state: CommitState;
    readonly description: string;
    readonly problem: string;
    readonly time: string;
  } | null;
}

/** What one receiver was told, and is yet to be told. */
export interface ReceiverOutbox {
  /** Its name in the settings. */
  readonly receiver: string;
  /** Digest of where it is. */
  readonly target: string;
  /** The newest first. */
  readonly commits: readonly CommitDeliveries[];
  /** Events that it accepted. */
  readonly delivered: number;
  /** Events that it refused, or that were given up. */
  readonly lost: number;
}

export interface Outbox {
  readonly receivers: readonly ReceiverOutbox[];
}

/** Bounds of the record. */
export const MOST_RECEIVERS = 16;
export const MOST_COMMITS = 8;
export const MOST_DIAGNOSTICS = 5;

/** A node asks the leader to poll the source now. Nobody acts on its content. */
export interface PollRequest {
  readonly node: string;
  /** RFC 3339, UTC. */
  readonly time: string;
}
