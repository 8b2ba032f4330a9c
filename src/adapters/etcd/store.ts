/**
 * The store in etcd: `etcd://host:2379,host:2379/prefix`. Any number of machines; etcd provides the consensus. The same
 * contract suite tests it as the stores of one machine.
 */
import type { NodeEndpoints } from "../../model/endpoints.js";
import type { Release, Rollout } from "../../model/rollout.js";
import type { Outbox, PollRequest } from "../../model/outbox.js";
import type { Override } from "../../model/override.js";
import type { Approval, SourceControl, Suspension } from "../../model/source-control.js";
import type { CommittedState, Revision } from "../../model/state.js";
import type { Heartbeat, Member, NodeStatus, SourceStatus, StoreHealth } from "../../model/status.js";
import {
  StoreError,
  type ChangeKind,
  type CommitGuard,
  type CommitOutcome,
  type DamagedRecord,
  type Fence,
  type PruneBounds,
  type Pruned,
  type RevisionDraft,
  type Store,
  type StoreEvent,
} from "../../interfaces/store.js";
import type { Clock } from "../../interfaces/system.js";
import { keys, prefixes, STORE_FORMAT } from "../../store/keys.js";
import { inForce } from "../../store/suspension.js";
import {
  isApproval,
  isSourceStatus,
  encodeOverrides,
  encodeSuspension,
  isOverrideList,
  isSuspension,
  STATUS,
  tidyDecision,
  tidySourceStatus,
  tidyStatus,
} from "../../store/records.js";
import { encodeOutbox, isOutbox } from "../../store/outbox-records.js";
import { EtcdClient, type EtcdOptions } from "./client.js";
import { Endpoints } from "./endpoints.js";
import { Membership } from "./membership.js";
import { commitRevision, unchanged } from "./commit.js";
import { Rollouts } from "./rollouts.js";
import type { Entry } from "./requests.js";
import { WatchCache } from "./watch-cache.js";
import { readHealth } from "./health.js";
import { History } from "./history.js";
import { pruneEtcd } from "./prune.js";
import { encodeLong, encodeRecord, ownRecordOf, recordOf } from "./records.js";
import { compress, decodeValue } from "./values.js";
import { watchKinds, type Listener, type Watched } from "./watch.js";

const WATCHED: readonly Watched<ChangeKind>[] = [
  // In one range, so that a commit's objects, its revision and its rollout arrive before, or together with, its head.
  {
    kind: "head",
    range: { prefix: keys.head, through: keys.rollout },
    only: [keys.head, keys.rollout],
    removals: true,
  },
  // A status is removed only when its node leaves.
  { kind: "status", range: { prefix: prefixes.status }, removals: false },
  { kind: "status", range: { prefix: keys.source, exact: true }, removals: true },
  { kind: "status", range: { prefix: keys.suspension, exact: true }, removals: true },
  { kind: "overrides", range: { prefix: keys.overrides, exact: true }, removals: true },
  { kind: "members", range: { prefix: prefixes.members }, removals: true },
  { kind: "members", range: { prefix: prefixes.live }, removals: true },
  { kind: "endpoints", range: { prefix: prefixes.endpoints }, removals: true },
  { kind: "polls", range: { prefix: keys.poll, exact: true }, removals: false },
  // A leader writes its record at each renewal.
  { kind: "members", range: { prefix: keys.election, exact: true }, removals: true, rewrites: false },
];

/**
 * Opens the store. It connects at its first use, so that an agent can start while etcd is unreachable.
 * @param spread [0, 1): selects the endpoint to begin with
 */
export interface CertifiedStore extends Store {
  /** Uses other certificates from now on. @throws StoreError if no member accepts them; then nothing changes */
  replaceTls(tls: NonNullable<EtcdOptions["tls"]>): Promise<void>;
}

export function openEtcdStore(options: EtcdOptions, clock: Clock, spread: number): CertifiedStore {
  return new EtcdStore(new EtcdClient(options, clock, spread * options.endpoints.length));
}

class EtcdStore implements CertifiedStore {
  readonly backend = "etcd";
  readonly #client: EtcdClient;
  readonly #watchCache = new WatchCache();
  readonly #history: History;
  readonly #rollouts: Rollouts;
  readonly #cluster: Membership;
  readonly #endpoints: Endpoints;
  /** Ends the watches of this handle. */
  readonly #closing = new AbortController();
  #isChecked = false;

  constructor(client: EtcdClient) {
    this.#client = client;
    this.#history = new History(client, this.#watchCache);
    this.#rollouts = new Rollouts(client, this.#history, this.#watchCache);
    this.#cluster = new Membership(client);
    this.#endpoints = new Endpoints(client);
  }

  async readHead(): Promise<number | null> {
    await this.#check();
    return this.#history.readHead();
  }

  async readRelease({ watched = false }: { readonly watched?: boolean } = {}): Promise<Release> {
    await this.#check();
    return this.#rollouts.readRelease(watched);
  }

  async writeRollout(
    next: Rollout,
    guard: { readonly expect: Rollout; readonly fence: Fence | null },
  ): Promise<boolean> {
    await this.#check();
    return this.#rollouts.write(next, guard);
  }

  async readRevision(number: number): Promise<Revision | null> {
    await this.#check();
    return this.#history.readRevision(number);
  }

  async readState(number: number): Promise<CommittedState> {
    await this.#check();
    return this.#history.readState(number);
  }

  async listRevisions(options: { readonly limit: number; readonly before?: number }): Promise<readonly Revision[]> {
    await this.#check();
    return this.#history.list(options);
  }

  async commit(draft: RevisionDraft, guard: CommitGuard): Promise<CommitOutcome> {
    await this.#check();
    const result = await commitRevision(this.#client, this.#history, draft, guard);
    if (result.outcome === "committed") this.#history.noteHead(result.revision.number);
    return result;
  }

  async readPolicyVersion(namespace: string, name: string): Promise<number> {
    await this.#check();
    return this.#history.readPolicyVersion(namespace, name);
  }

  async prune(keep: PruneBounds): Promise<Pruned> {
    await this.#check();
    return pruneEtcd(this.#client, this.#history, keep);
  }

  async *watch(signal: AbortSignal, kinds?: readonly ChangeKind[]): AsyncGenerator<StoreEvent, void, undefined> {
    const ended = AbortSignal.any([signal, this.#closing.signal]);
    if (ended.aborted) return;
    const watched = WATCHED.filter(({ kind }) => kinds?.includes(kind) ?? true);
    const isOfEndpoints = watched.some(({ kind }) => kind === "endpoints");
    const isOfHead = watched.some(({ kind }) => kind === "head");
    const listeners: readonly Listener[] = isOfEndpoints ? [this.#watchCache, this.#endpoints] : [this.#watchCache];
    const listener: Listener = {
      add: (entry) => listeners.forEach((one) => one.add(entry)),
      remove: (key, modified) => listeners.forEach((one) => one.remove(key, modified)),
      clear: () => listeners.forEach((one) => one.clear()),
    };
    try {
      for await (const changed of watchKinds(this.#client, watched, ended, listener)) {
        // Each event comes from a stream that stands.
        if (isOfEndpoints) this.#endpoints.begin();
        if (isOfHead) this.#watchCache.begin();
        yield { changed: changed ?? "head" };
      }
    } finally {
      if (isOfEndpoints) this.#endpoints.clear();
      // Another watch of this handle, if there is one, brings its next event to the cache again.
      if (isOfHead) this.#watchCache.clear();
    }
  }

  async joinMember(member: Member): Promise<void> {
    await this.#check();
    await this.#cluster.join(member);
  }

  async leaveMember(id: string): Promise<boolean> {
    await this.#check();
    return this.#cluster.leave(id);
  }

  async listMembers(): Promise<readonly Member[]> {
    await this.#check();
    return this.#cluster.listMembers();
  }

  async heartbeat(
    node: { readonly id: string; readonly address: string; readonly holder: string },
    ttlMs: number,
  ): Promise<{ readonly held: string | null }> {
    await this.#check();
    return this.#cluster.heartbeat(node, ttlMs);
  }

  async endHeartbeat(id: string, holder: string): Promise<void> {
    await this.#check();
    await this.#cluster.endHeartbeat(id, holder);
  }

  async listHeartbeats(): Promise<readonly Heartbeat[]> {
    await this.#check();
    return this.#cluster.listHeartbeats();
  }

  async writeNodeStatus(status: NodeStatus): Promise<void> {
    await this.#check();
    await this.#client.transact([], [{ put: keys.status(status.node), bytes: encodeLong(tidyStatus(status)) }]);
  }

  async listNodeStatus(): Promise<readonly NodeStatus[]> {
    await this.#check();
    const entries = await this.#client.list({ prefix: prefixes.status });
    return entries.flatMap((entry) => ownRecordOf(entry, STATUS) ?? []);
  }

  async writeEndpoints(endpoints: NodeEndpoints): Promise<void> {
    await this.#check();
    await this.#endpoints.write(endpoints);
  }

  async listEndpoints({ watched = false }: { readonly watched?: boolean } = {}): Promise<readonly NodeEndpoints[]> {
    await this.#check();
    return this.#endpoints.list(watched);
  }

  async listDamaged(): Promise<readonly DamagedRecord[]> {
    await this.#check();
    return this.#cluster.listDamaged();
  }

  async writeSourceStatus(status: SourceStatus, fence: Fence): Promise<boolean> {
    await this.#check();
    const { succeeded } = await this.#client.transact(
      [{ key: keys.election, created: fence.term }],
      [{ put: keys.source, bytes: encodeLong(tidySourceStatus(status)) }],
    );
    return succeeded;
  }

  async readSourceStatus(): Promise<SourceStatus | null> {
    await this.#check();
    const entry = await this.#client.get(keys.source);
    return entry === null ? null : recordOf(entry, isSourceStatus);
  }

  async requestPoll(request: PollRequest): Promise<void> {
    await this.#check();
    await this.#client.transact([], [{ put: keys.poll, bytes: encodeRecord(request) }]);
  }

  async writeOutbox(outbox: Outbox, fence: Fence): Promise<boolean> {
    await this.#check();
    const bytes = compress(encodeOutbox(outbox));
    const { succeeded } = await this.#client.transact(
      [{ key: keys.election, created: fence.term }],
      [{ put: keys.outbox, bytes }],
    );
    return succeeded;
  }

  async readOutbox(): Promise<Outbox | null> {
    await this.#check();
    const entry = await this.#client.get(keys.outbox);
    return entry === null ? null : recordOf(entry, isOutbox);
  }

  async readSourceControl(): Promise<SourceControl> {
    await this.#check();
    const { found } = await this.#client.transact([], [{ get: keys.suspension }, { get: keys.approval }]);
    const [suspension, approval] = found.map(([entry]) => entry);
    return {
      suspension:
        suspension === undefined ? null : inForce(recordOf(suspension, isSuspension), this.#client.clock.now()),
      approval: approval === undefined ? null : recordOf(approval, isApproval),
    };
  }

  async writeSuspension(suspension: Suspension | null): Promise<boolean> {
    await this.#check();
    const { removed } = await this.#client.transact(
      [],
      [
        suspension === null
          ? { remove: keys.suspension }
          : { put: keys.suspension, bytes: Buffer.from(encodeSuspension(suspension)) },
      ],
    );
    return suspension !== null || removed.some((count) => count > 0);
  }

  async writeApproval(approval: Approval): Promise<void> {
    await this.#check();
    await this.#client.transact([], [{ put: keys.approval, bytes: encodeRecord(tidyDecision(approval)) }]);
  }

  async readOverrides(): Promise<readonly Override[]> {
    await this.#check();
    return (await this.#overrides()).overrides;
  }

  async changeOverrides(change: (before: readonly Override[]) => readonly Override[]): Promise<readonly Override[]> {
    await this.#check();
    for (;;) {
      const { overrides: before, entry } = await this.#overrides();
      const after = change(before);
      if (after === before) return before;
      const bytes = Buffer.from(encodeOverrides(after));
      const { succeeded } = await this.#client.transact(
        [unchanged(keys.overrides, entry)],
        [{ put: keys.overrides, bytes }],
      );
      if (succeeded) return after;
    }
  }

  async #overrides(): Promise<{ readonly overrides: readonly Override[]; readonly entry: Entry | null }> {
    const entry = await this.#client.get(keys.overrides);
    return { entry, overrides: entry === null ? [] : recordOf(entry, isOverrideList) };
  }

  async campaign(
    candidate: { readonly id: string; readonly holder: string },
    ttlMs: number,
  ): Promise<{ readonly fence: Fence | null; readonly leader: string | null }> {
    await this.#check();
    return this.#cluster.campaign(candidate, ttlMs);
  }

  async resign(holder: string): Promise<void> {
    await this.#check();
    await this.#cluster.resign(holder);
  }

  async readLeader(): Promise<string | null> {
    await this.#check();
    return (await this.#cluster.readFence())?.leader ?? null;
  }

  async readFence(): Promise<Fence | null> {
    await this.#check();
    return this.#cluster.readFence();
  }

  /** Needs no right of the client's, and no majority of the members. */
  async readHealth({ everyServer = false }: { readonly everyServer?: boolean } = {}): Promise<readonly StoreHealth[]> {
    const { options } = this.#client;
    return readHealth(this.#client, everyServer ? options.endpoints : [this.#client.connect().endpoint]);
  }

  replaceTls(tls: NonNullable<EtcdOptions["tls"]>): Promise<void> {
    return this.#client.replaceTls(tls);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    this.#client.close();
  }

  /** Checks once whether this version knows the layout below the prefix. */
  async #check(): Promise<void> {
    if (this.#closing.signal.aborted) throw new StoreError("store-unavailable", "the store was closed");
    if (this.#isChecked) return;
    const entry = await this.#client.get(keys.format);
    const format = entry === null ? null : decodeValue(entry.key, entry.bytes);
    if (format !== null && format !== STORE_FORMAT) {
      throw new StoreError(
        "store-version",
        `the store's layout is ${format.slice(0, 40)}, this ztap knows ${STORE_FORMAT}; use the version of ztap that wrote it, or another prefix`,
      );
    }
    this.#isChecked = format !== null;
  }
}
