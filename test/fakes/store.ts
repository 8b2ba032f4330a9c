/**
 * Stores between a loop and a real store. `InterceptedStore` implements the whole interface and passes each call through one
 * function; `FaultyStore` refuses calls as a test's script says. Without a fault each is a store like the one below it: it
 * passes the store's contract (test/fakes/store.test.ts).
 */
import type { NodeEndpoints } from "../../src/model/endpoints.js";
import type { Release, Rollout } from "../../src/model/rollout.js";
import type { Outbox, PollRequest } from "../../src/model/outbox.js";
import type { Override } from "../../src/model/override.js";
import type { Approval, SourceControl, Suspension } from "../../src/model/source-control.js";
import type { CommittedState, Revision } from "../../src/model/state.js";
import type { Heartbeat, Member, NodeStatus, SourceStatus, StoreHealth } from "../../src/model/status.js";
import {
  StoreError,
  type ChangeKind,
  type CommitGuard,
  type CommitOutcome,
  type DamagedRecord,
  type Fence,
  type RevisionDraft,
  type Store,
  type StoreEvent,
} from "../../src/interfaces/store.js";

/** A method of the interface that asks the store something. */
export type StoreCall = Exclude<keyof Store, "backend" | "close">;

export abstract class InterceptedStore implements Store {
  /** The store that answers. */
  protected abstract get inner(): Store;

  /** Makes the call, or does not. */
  protected abstract intercept<T>(call: StoreCall, run: (store: Store) => Promise<T>): Promise<T>;

  get backend(): string {
    return this.inner.backend;
  }

  readHead(): Promise<number | null> {
    return this.intercept("readHead", (store) => store.readHead());
  }

  readRelease(options?: { readonly watched?: boolean }): Promise<Release> {
    return this.intercept("readRelease", (store) => store.readRelease(options));
  }

  writeRollout(next: Rollout, guard: { readonly expect: Rollout; readonly fence: Fence | null }): Promise<boolean> {
    return this.intercept("writeRollout", (store) => store.writeRollout(next, guard));
  }

  readRevision(number: number): Promise<Revision | null> {
    return this.intercept("readRevision", (store) => store.readRevision(number));
  }

  readState(number: number): Promise<CommittedState> {
    return this.intercept("readState", (store) => store.readState(number));
  }

  listRevisions(options: { readonly limit: number; readonly before?: number }): Promise<readonly Revision[]> {
    return this.intercept("listRevisions", (store) => store.listRevisions(options));
  }

  commit(draft: RevisionDraft, guard: CommitGuard): Promise<CommitOutcome> {
    return this.intercept("commit", (store) => store.commit(draft, guard));
  }

  readPolicyVersion(namespace: string, name: string): Promise<number> {
    return this.intercept("readPolicyVersion", (store) => store.readPolicyVersion(namespace, name));
  }

  prune(keep: {
    readonly revisions: number;
    readonly newerThan: string;
  }): Promise<{ readonly revisions: number; readonly objects: number }> {
    return this.intercept("prune", (store) => store.prune(keep));
  }

  async *watch(signal: AbortSignal, kinds?: readonly ChangeKind[]): AsyncGenerator<StoreEvent, void, undefined> {
    yield* await this.intercept("watch", async (store) => store.watch(signal, kinds));
  }

  joinMember(member: Member): Promise<void> {
    return this.intercept("joinMember", (store) => store.joinMember(member));
  }

  leaveMember(id: string): Promise<boolean> {
    return this.intercept("leaveMember", (store) => store.leaveMember(id));
  }

  listMembers(): Promise<readonly Member[]> {
    return this.intercept("listMembers", (store) => store.listMembers());
  }

  heartbeat(
    node: { readonly id: string; readonly address: string; readonly holder: string },
    ttlMs: number,
  ): Promise<{ readonly held: string | null }> {
    return this.intercept("heartbeat", (store) => store.heartbeat(node, ttlMs));
  }

  endHeartbeat(id: string, holder: string): Promise<void> {
    return this.intercept("endHeartbeat", (store) => store.endHeartbeat(id, holder));
  }

  listHeartbeats(): Promise<readonly Heartbeat[]> {
    return this.intercept("listHeartbeats", (store) => store.listHeartbeats());
  }

  writeNodeStatus(status: NodeStatus): Promise<void> {
    return this.intercept("writeNodeStatus", (store) => store.writeNodeStatus(status));
  }

  listNodeStatus(): Promise<readonly NodeStatus[]> {
    return this.intercept("listNodeStatus", (store) => store.listNodeStatus());
  }

  writeEndpoints(endpoints: NodeEndpoints): Promise<void> {
    return this.intercept("writeEndpoints", (store) => store.writeEndpoints(endpoints));
  }

  listEndpoints(options?: { readonly watched?: boolean }): Promise<readonly NodeEndpoints[]> {
    return this.intercept("listEndpoints", (store) => store.listEndpoints(options));
  }

  listDamaged(): Promise<readonly DamagedRecord[]> {
    return this.intercept("listDamaged", (store) => store.listDamaged());
  }

  writeSourceStatus(status: SourceStatus, fence: Fence): Promise<boolean> {
    return this.intercept("writeSourceStatus", (store) => store.writeSourceStatus(status, fence));
  }

  readSourceStatus(): Promise<SourceStatus | null> {
    return this.intercept("readSourceStatus", (store) => store.readSourceStatus());
  }

  requestPoll(request: PollRequest): Promise<void> {
    return this.intercept("requestPoll", (store) => store.requestPoll(request));
  }

  writeOutbox(outbox: Outbox, fence: Fence): Promise<boolean> {
    return this.intercept("writeOutbox", (store) => store.writeOutbox(outbox, fence));
  }

  readOutbox(): Promise<Outbox | null> {
    return this.intercept("readOutbox", (store) => store.readOutbox());
  }

  readSourceControl(): Promise<SourceControl> {
    return this.intercept("readSourceControl", (store) => store.readSourceControl());
  }

  writeSuspension(suspension: Suspension | null): Promise<boolean> {
    return this.intercept("writeSuspension", (store) => store.writeSuspension(suspension));
  }

  readOverrides(): Promise<readonly Override[]> {
    return this.intercept("readOverrides", (store) => store.readOverrides());
  }

  changeOverrides(change: (before: readonly Override[]) => readonly Override[]): Promise<readonly Override[]> {
    return this.intercept("changeOverrides", (store) => store.changeOverrides(change));
  }

  writeApproval(approval: Approval): Promise<void> {
    return this.intercept("writeApproval", (store) => store.writeApproval(approval));
  }

  campaign(
    candidate: { readonly id: string; readonly holder: string },
    ttlMs: number,
  ): Promise<{ readonly fence: Fence | null; readonly leader: string | null }> {
    return this.intercept("campaign", (store) => store.campaign(candidate, ttlMs));
  }

  resign(holder: string): Promise<void> {
    return this.intercept("resign", (store) => store.resign(holder));
  }

  readLeader(): Promise<string | null> {
    return this.intercept("readLeader", (store) => store.readLeader());
  }

  readFence(): Promise<Fence | null> {
    return this.intercept("readFence", (store) => store.readFence());
  }

  readHealth(options?: { readonly everyServer?: boolean }): Promise<readonly StoreHealth[]> {
    return this.intercept("readHealth", (store) => store.readHealth(options));
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}

/** Refuses calls as a test's script says, keeps the statuses that were written, and may be given another store below it. */
export class FaultyStore extends InterceptedStore {
  /** Why a call fails; null where it does not. */
  refuse: (call: StoreCall) => Error | null = () => null;
  /** Every status that a node asked to write, in order. */
  readonly statuses: NodeStatus[] = [];

  constructor(public inner: Store) {
    super();
  }

  /** No call reaches the store any more. */
  cutOff(): void {
    this.refuse = () => new StoreError("store-unavailable", "no route to the store");
  }

  mend(): void {
    this.refuse = () => null;
  }

  override async writeNodeStatus(status: NodeStatus): Promise<void> {
    this.statuses.push(status);
    await super.writeNodeStatus(status);
  }

  protected async intercept<T>(call: StoreCall, run: (store: Store) => Promise<T>): Promise<T> {
    const error = this.refuse(call);
    if (error !== null) throw error;
    return run(this.inner);
  }
}
