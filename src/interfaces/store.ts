/**
 * Store: where revisions, membership and status live.
 *
 * Every adapter is held to the same contract suite (test/contract/store.ts). Guarantees:
 *  - a revision becomes visible whole or not at all, and once acknowledged it survives any crash;
 *  - revision numbers rise by one, without gap or repeat, along one lineage;
 *  - a policy's versions never start again, also not after it was deleted;
 *  - a lost race changes nothing and says so;
 *  - what is read has had its digest checked: a damaged object is a StoreError, never data.
 */
import type { Approval, SourceControl, Suspension } from "../model/source-control.js";
import type { CommittedState, Revision, SourceRef, StateObject } from "../model/state.js";
import type { Heartbeat, Member, NodeStatus, SourceStatus } from "../model/status.js";

/** Proof of leadership: a write under it succeeds only while that very term lasts. */
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
  /** Unique for this attempt; the caller draws it. */
  readonly commitId: string;
  /** RFC 3339, UTC. */
  readonly time: string;
}

export interface CommitGuard {
  /** The head that the draft was planned against; null for an empty store. */
  readonly expectHead: number | null;
  /** Null for an operator's apply, which leads nothing. */
  readonly fence: Fence | null;
  /** Whether nothing is committed while a suspension is in force: what comes from the source, and not from a person. */
  readonly heedSuspension?: boolean;
}

export type CommitOutcome =
  | { readonly outcome: "committed"; readonly revision: Revision }
  | { readonly outcome: "stale-head"; readonly head: number | null }
  | { readonly outcome: "fenced"; readonly leader: string | null }
  | { readonly outcome: "suspended"; readonly suspension: Suspension };

/** What woke a watcher. Never carries data: read the store. */
export type StoreEvent = { readonly changed: ChangeKind };
/** `members` covers heartbeats that begin or end, and leadership; `status` the nodes' and the source's. */
export type ChangeKind = "head" | "status" | "members";

export interface Store {
  /** `memory`, `embedded` or `etcd`. */
  readonly backend: string;

  /**
   * Number of the revision in force; null while nothing was ever committed.
   * @param options `watched`: may be what a watch of this handle brought, once, in place of asking; for a loop
   * that looks again on the next event and by the clock
   */
  readHead(options?: { readonly watched?: boolean }): Promise<number | null>;
  readRevision(number: number): Promise<Revision | null>;
  /** @throws StoreError `object-damaged`, `object-missing`, `revision-missing` */
  readState(number: number): Promise<CommittedState>;
  /** Newest first. */
  listRevisions(options: { readonly limit: number; readonly before?: number }): Promise<readonly Revision[]>;
  commit(draft: RevisionDraft, guard: CommitGuard): Promise<CommitOutcome>;
  /** The last version ever used for a policy; 0 for one that never was. */
  readPolicyVersion(namespace: string, name: string): Promise<number>;
  /** Removes revisions beyond both bounds, and objects that nothing names any more. Never head. */
  prune(keep: {
    readonly revisions: number;
    readonly newerThan: string;
  }): Promise<{ readonly revisions: number; readonly objects: number }>;

  /**
   * Yields after each change that happened after the call, coalesced: several changes may give one
   * event. Ends when the signal aborts. The first event comes at once, so that a caller that reads
   * on every event misses nothing.
   * @param kinds what to be woken for; all where absent. The first event is `head` in any case.
   */
  watch(signal: AbortSignal, kinds?: readonly ChangeKind[]): AsyncIterable<StoreEvent>;

  joinMember(member: Member): Promise<void>;
  /** Forgets the member, its heartbeat and its status, whatever is in them. False where there was nothing. */
  leaveMember(id: string): Promise<boolean>;
  /** As each list of what nodes say of themselves: a record without its shape, or of another node, is left out. */
  listMembers(): Promise<readonly Member[]>;

  /**
   * Claims or renews the heartbeat of a node for `ttlMs`. A heartbeat that another holder keeps
   * alive is refused: `{ held: holder }`. This is what stops a second agent for the same node.
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
  /** Fenced: a leader that is no longer one writes nothing and gets false. */
  writeSourceStatus(status: SourceStatus, fence: Fence): Promise<boolean>;
  readSourceStatus(): Promise<SourceStatus | null>;

  /** A suspension that has run out is none. */
  readSourceControl(): Promise<SourceControl>;
  /**
   * Once this returns, no commit that heeds suspensions is made any more. Null ends it. False where there was none
   * to end.
   */
  writeSuspension(suspension: Suspension | null): Promise<boolean>;
  writeApproval(approval: Approval): Promise<void>;

  /** Claims or renews leadership for `ttlMs`; returns the fence, or who leads. */
  campaign(
    candidate: { readonly id: string; readonly holder: string },
    ttlMs: number,
  ): Promise<{ readonly fence: Fence | null; readonly leader: string | null }>;
  resign(holder: string): Promise<void>;
  readLeader(): Promise<string | null>;
  /**
   * The fence of whoever leads now; null while nobody does. For another process of the leading node,
   * which commits under it: a change of leader meanwhile refuses that commit.
   */
  readFence(): Promise<Fence | null>;

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

/** What the store could not do. Callers branch on `code`. */
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
