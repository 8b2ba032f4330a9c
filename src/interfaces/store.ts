/**
 * Store: holds revisions, membership and status.
 *
 * One contract suite (test/contract/store.ts) tests every adapter. Guarantees:
 *  - a revision becomes visible as a whole or not at all, and survives any crash once it is acknowledged;
 *  - revision numbers rise by one, without gap or repetition, along one line of history;
 *  - a policy's versions never restart, even after it was deleted;
 *  - a lost race changes nothing and is reported;
 *  - digests are checked on every read: a damaged object is a StoreError, never data.
 */
import type { NodeEndpoints } from "../model/endpoints.js";
import type { Release, Rollout } from "../model/rollout.js";
import type { Outbox, PollRequest } from "../model/outbox.js";
import type { Override } from "../model/override.js";
import type { Approval, SourceControl, Suspension } from "../model/source-control.js";
import type { CommittedState, Revision, SourceRef, StateObject } from "../model/state.js";
import type { Heartbeat, Member, NodeStatus, SourceStatus, StoreHealth } from "../model/status.js";

/** Proof of leadership: a write under it succeeds only as long as that term lasts. */
export interface Fence {
  readonly leader: string;
  /** Rises with every change of leader. */
  readonly term: number;
}

export interface RevisionDraft {
  /** The whole desired state, not a difference. */
  readonly objects: readonly StateObject[];
  readonly source: SourceRef;
  readonly node: string;
  readonly author: string;
  readonly reason: string;
  /** Unique for this attempt; the caller generates it. */
  readonly commitId: string;
  /** RFC 3339, UTC. */
  readonly time: string;
  /** As in Revision. */
  readonly restores?: number;
  /** Suspends the source in the same transaction: it is in force from the moment that this revision is head. */
  readonly suspension?: Suspension;
  /**
   * Returns the rollout of the revision, from the record of the one before: called within the transaction, maybe several
   * times. Absent, or null returned: the record is removed, and all nodes enforce the revision at once.
   */
  readonly rollout?: (current: Rollout | null, number: number) => Rollout | null;
}

export interface CommitGuard {
  /** The head that the draft was planned against; null for an empty store. */
  readonly expectHead: number | null;
  /** Null for an operator's apply, which needs no leadership. */
  readonly fence: Fence | null;
  /** Refuses the commit while a suspension is in force: for commits from the source, not for those of an operator. */
  readonly heedSuspension?: boolean;
}

export type CommitOutcome =
  | { readonly outcome: "committed"; readonly revision: Revision }
  | { readonly outcome: "stale-head"; readonly head: number | null }
  | { readonly outcome: "fenced"; readonly leader: string | null }
  | { readonly outcome: "suspended"; readonly suspension: Suspension };

export interface PruneBounds {
  /** The number of newest revisions to keep. */
  readonly revisions: number;
  /** RFC 3339, UTC: revisions since then are kept. */
  readonly newerThan: string;
}

/** How much was removed. */
export interface Pruned {
  readonly revisions: number;
  readonly objects: number;
}

/** The reason for waking a watcher. It never carries data: read the store. */
export type StoreEvent = { readonly changed: ChangeKind };
/**
 * `head` covers the rollout; `members` covers heartbeats that begin or end, and leadership; `status` the nodes' and the source's;
 * `polls` that a node asks for a poll of the source.
 */
export const CHANGE_KINDS = ["head", "status", "members", "endpoints", "polls", "overrides"] as const;
export type ChangeKind = (typeof CHANGE_KINDS)[number];

/** A record that a node wrote about itself, and that is not used: it does not have its shape, or names another node. */
export interface DamagedRecord {
  readonly key: string;
  /** `membership`, `heartbeat`, `status` or `endpoints`. */
  readonly what: string;
  /** The node whose key it has; null if the key is no node's. */
  readonly node: string | null;
}

export interface Store {
  /** `memory`, `embedded` or `etcd`. */
  readonly backend: string;

  /** Returns the number of the newest revision; null before the first commit. */
  readHead(): Promise<number | null>;
  /**
   * Returns head and its rollout, as they were at one time. A change of either is an event of `head`.
   * @param options `watched`: may use, once, the value that a watch of this handle brought, instead of a request; for a
   * loop that reads again on the next event and periodically
   * @throws StoreError `store-damaged`
   */
  readRelease(options?: { readonly watched?: boolean }): Promise<Release>;
  /**
   * Replaces the rollout of head, if it is still the expected one. Returns false, and changes nothing, if it is not, or if
   * the term of the fence is over; an operator needs no fence.
   */
  writeRollout(next: Rollout, guard: { readonly expect: Rollout; readonly fence: Fence | null }): Promise<boolean>;
  readRevision(number: number): Promise<Revision | null>;
  /** @throws StoreError `object-damaged`, `object-missing`, `revision-missing` */
  readState(number: number): Promise<CommittedState>;
  /** Newest first. */
  listRevisions(options: { readonly limit: number; readonly before?: number }): Promise<readonly Revision[]>;
  commit(draft: RevisionDraft, guard: CommitGuard): Promise<CommitOutcome>;
  /** Returns the last version ever used for a policy; 0 for one that never existed. */
  readPolicyVersion(namespace: string, name: string): Promise<number>;
  /**
   * Removes revisions beyond both bounds, and objects that no revision refers to any more. Never head, nor a revision that
   * a node has to enforce during a rollout, nor one after it.
   */
  prune(keep: PruneBounds): Promise<Pruned>;

  /**
   * Yields after each change that happened after the call, coalesced: several changes may give one event. Ends when the
   * signal aborts. The first event comes at once, so that a caller that reads on every event misses nothing.
   * @param kinds the kinds of changes to yield; all if absent. The first event is `head` in any case.
   */
  watch(signal: AbortSignal, kinds?: readonly ChangeKind[]): AsyncIterable<StoreEvent>;

  joinMember(member: Member): Promise<void>;
  /** Removes the member, its heartbeat, its status and its endpoints, even if they are damaged. Returns false if there was nothing. */
  leaveMember(id: string): Promise<boolean>;
  /**
   * Returns the members. Like all lists of records that nodes write about themselves, it leaves out a record without
   * its shape, or one of another node.
   */
  listMembers(): Promise<readonly Member[]>;

  /**
   * Claims or renews the heartbeat of a node, which is its node lease, for `ttlMs`. A heartbeat that another holder
   * keeps alive is refused: `{ held: holder }`. This prevents a second agent for the same node.
   */
  heartbeat(
    node: { readonly id: string; readonly address: string; readonly holder: string },
    ttlMs: number,
  ): Promise<{ readonly held: string | null }>;
  /** Ends a heartbeat at once, if this holder has it. */
  endHeartbeat(id: string, holder: string): Promise<void>;
  listHeartbeats(): Promise<readonly Heartbeat[]>;

  writeNodeStatus(status: NodeStatus): Promise<void>;
  listNodeStatus(): Promise<readonly NodeStatus[]>;
  writeEndpoints(endpoints: NodeEndpoints): Promise<void>;
  /**
   * Returns the endpoints of all nodes, in the order of their names.
   * @param options `watched`: may return what a watch of `endpoints` by this handle brought, instead of a request; for a
   * loop that reads again on the next event
   */
  listEndpoints(options?: { readonly watched?: boolean }): Promise<readonly NodeEndpoints[]>;
  /** Returns the records of nodes that the lists leave out. */
  listDamaged(): Promise<readonly DamagedRecord[]>;
  /** Fenced: a leader whose term is over writes nothing and gets false. */
  writeSourceStatus(status: SourceStatus, fence: Fence): Promise<boolean>;
  readSourceStatus(): Promise<SourceStatus | null>;
  /** Asks the leader to poll the source: wakes the watchers of `polls`. A newer request replaces an older one. */
  requestPoll(request: PollRequest): Promise<void>;

  /**
   * Writes the outbox. Fenced, as the status of the source: the leader is its only writer.
   * @throws StoreError `object-damaged` if it exceeds its bounds: the store could never return it
   */
  writeOutbox(outbox: Outbox, fence: Fence): Promise<boolean>;
  /** Returns the outbox; null before the first. */
  readOutbox(): Promise<Outbox | null>;

  /** Returns the source control. An expired suspension counts as none. */
  readSourceControl(): Promise<SourceControl>;
  /**
   * Writes a suspension; null ends it. Once this returns, no more commits that heed suspensions are made. Returns false
   * if there was none to end.
   */
  writeSuspension(suspension: Suspension | null): Promise<boolean>;
  writeApproval(approval: Approval): Promise<void>;

  /** Returns the overrides, the newest first: those in force, and the last that ended. */
  readOverrides(): Promise<readonly Override[]>;
  /**
   * Replaces the overrides by what `change` makes of them, which runs again if somebody else changed them meanwhile, and must not
   * throw. Writes nothing if it returns what it was given.
   */
  changeOverrides(change: (before: readonly Override[]) => readonly Override[]): Promise<readonly Override[]>;

  /** Claims or renews leadership for `ttlMs`; returns the fence, or the current leader. */
  campaign(
    candidate: { readonly id: string; readonly holder: string },
    ttlMs: number,
  ): Promise<{ readonly fence: Fence | null; readonly leader: string | null }>;
  resign(holder: string): Promise<void>;
  readLeader(): Promise<string | null>;
  /**
   * Returns the fence of the current leader; null if there is none. For another process of the leading node, which
   * commits under it: a change of leader meanwhile refuses that commit.
   */
  readFence(): Promise<Fence | null>;

  /**
   * Returns the health of the server that this handle uses; none for a store without servers.
   * @param options `everyServer`: of all servers that the handle knows
   */
  readHealth(options?: { readonly everyServer?: boolean }): Promise<readonly StoreHealth[]>;

  close(): Promise<void>;
}

export type StoreErrorCode =
  | "object-damaged"
  | "object-missing"
  | "revision-missing"
  | "store-damaged"
  | "store-locked"
  | "store-unavailable"
  | "store-permission"
  | "store-version";

/** The failure of a store. Callers branch on `code`. */
export class StoreError extends Error {
  override readonly name = "StoreError";
  constructor(
    readonly code: StoreErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
