/**
 * LocalStore: the Store of one machine, on any KeyValueStore. The memory and the embedded store differ only in that.
 * Each method is one transaction, so that its result is consistent.
 */
import { CHANGE_KINDS } from "../../interfaces/store.js";
import type {
  ChangeKind,
  CommitGuard,
  CommitOutcome,
  DamagedRecord,
  Fence,
  PruneBounds,
  Pruned,
  RevisionDraft,
  Store,
  StoreEvent,
} from "../../interfaces/store.js";
import type { Clock } from "../../interfaces/system.js";
import type { NodeEndpoints } from "../../model/endpoints.js";
import type { Release, Rollout } from "../../model/rollout.js";
import type { Outbox, PollRequest } from "../../model/outbox.js";
import type { Override } from "../../model/override.js";
import type { Approval, SourceControl, Suspension } from "../../model/source-control.js";
import type { CommittedState, Revision } from "../../model/state.js";
import type { Heartbeat, Member, NodeStatus, SourceStatus, StoreHealth } from "../../model/status.js";
import { LocalControl } from "./control.js";
import { LocalHistory } from "./history.js";
import type { KeyValueStore } from "./key-value.js";
import { LocalMembership } from "./membership.js";
import { Transactions } from "./transactions.js";

export class LocalStore implements Store {
  readonly backend: string;
  readonly #transactions: Transactions;
  readonly #history: LocalHistory;
  readonly #membership: LocalMembership;
  readonly #control: LocalControl;

  constructor(table: KeyValueStore, clock: Clock) {
    this.backend = table.backend;
    this.#transactions = new Transactions(table, clock);
    this.#history = new LocalHistory(this.#transactions);
    this.#membership = new LocalMembership(this.#transactions);
    this.#control = new LocalControl(this.#transactions);
  }

  readHead(): Promise<number | null> {
    return this.#history.readHead();
  }

  readRelease(): Promise<Release> {
    return this.#history.readRelease();
  }

  writeRollout(next: Rollout, guard: { readonly expect: Rollout; readonly fence: Fence | null }): Promise<boolean> {
    return this.#history.writeRollout(next, guard);
  }

  readRevision(number: number): Promise<Revision | null> {
    return this.#history.readRevision(number);
  }

  readState(number: number): Promise<CommittedState> {
    return this.#history.readState(number);
  }

  listRevisions(options: { readonly limit: number; readonly before?: number }): Promise<readonly Revision[]> {
    return this.#history.listRevisions(options);
  }

  commit(draft: RevisionDraft, guard: CommitGuard): Promise<CommitOutcome> {
    return this.#history.commit(draft, guard);
  }

  readPolicyVersion(namespace: string, name: string): Promise<number> {
    return this.#history.readPolicyVersion(namespace, name);
  }

  readHealth(): Promise<readonly StoreHealth[]> {
    return Promise.resolve([]);
  }

  prune(keep: PruneBounds): Promise<Pruned> {
    return this.#history.prune(keep);
  }

  watch(signal: AbortSignal, kinds: readonly ChangeKind[] = CHANGE_KINDS): AsyncGenerator<StoreEvent, void, undefined> {
    return this.#transactions.watch(signal, kinds);
  }

  joinMember(member: Member): Promise<void> {
    return this.#membership.joinMember(member);
  }

  leaveMember(id: string): Promise<boolean> {
    return this.#membership.leaveMember(id);
  }

  listMembers(): Promise<readonly Member[]> {
    return this.#membership.listMembers();
  }

  heartbeat(
    node: { readonly id: string; readonly address: string; readonly holder: string },
    ttlMs: number,
  ): Promise<{ readonly held: string | null }> {
    return this.#membership.heartbeat(node, ttlMs);
  }

  endHeartbeat(id: string, holder: string): Promise<void> {
    return this.#membership.endHeartbeat(id, holder);
  }

  listHeartbeats(): Promise<readonly Heartbeat[]> {
    return this.#membership.listHeartbeats();
  }

  writeNodeStatus(status: NodeStatus): Promise<void> {
    return this.#control.writeNodeStatus(status);
  }

  listNodeStatus(): Promise<readonly NodeStatus[]> {
    return this.#control.listNodeStatus();
  }

  writeEndpoints(endpoints: NodeEndpoints): Promise<void> {
    return this.#control.writeEndpoints(endpoints);
  }

  listEndpoints(): Promise<readonly NodeEndpoints[]> {
    return this.#control.listEndpoints();
  }

  listDamaged(): Promise<readonly DamagedRecord[]> {
    return this.#membership.listDamaged();
  }

  writeSourceStatus(status: SourceStatus, fence: Fence): Promise<boolean> {
    return this.#control.writeSourceStatus(status, fence);
  }

  readSourceStatus(): Promise<SourceStatus | null> {
    return this.#control.readSourceStatus();
  }

  requestPoll(request: PollRequest): Promise<void> {
    return this.#control.requestPoll(request);
  }

  writeOutbox(outbox: Outbox, fence: Fence): Promise<boolean> {
    return this.#control.writeOutbox(outbox, fence);
  }

  readOutbox(): Promise<Outbox | null> {
    return this.#control.readOutbox();
  }

  readSourceControl(): Promise<SourceControl> {
    return this.#control.readSourceControl();
  }

  writeSuspension(suspension: Suspension | null): Promise<boolean> {
    return this.#control.writeSuspension(suspension);
  }

  readOverrides(): Promise<readonly Override[]> {
    return this.#control.readOverrides();
  }

  changeOverrides(change: (before: readonly Override[]) => readonly Override[]): Promise<readonly Override[]> {
    return this.#control.changeOverrides(change);
  }

  writeApproval(approval: Approval): Promise<void> {
    return this.#control.writeApproval(approval);
  }

  campaign(
    candidate: { readonly id: string; readonly holder: string },
    ttlMs: number,
  ): Promise<{ readonly fence: Fence | null; readonly leader: string | null }> {
    return this.#membership.campaign(candidate, ttlMs);
  }

  resign(holder: string): Promise<void> {
    return this.#membership.resign(holder);
  }

  readLeader(): Promise<string | null> {
    return this.#membership.readLeader();
  }

  readFence(): Promise<Fence | null> {
    return this.#membership.readFence();
  }

  close(): Promise<void> {
    return this.#transactions.close();
  }
}
