/**
 * LocalStore: the Store of one machine, on any KeyValueStore. The memory and the embedded store differ only in that.
 * Each method is one transaction, so that its result is consistent.
 */
import type { Approval, SourceControl, Suspension } from "../model/source-control.js";
import type { CommittedState, Revision, StateObject } from "../model/state.js";
import { refKey } from "../model/state.js";
import type { Heartbeat, Member, NodeStatus, SourceStatus } from "../model/status.js";
import {
  StoreError,
  type ChangeKind,
  type CommitGuard,
  type CommitOutcome,
  type Fence,
  type RevisionDraft,
  type Store,
  type StoreEvent,
} from "../interfaces/store.js";
import { Notifier } from "../interfaces/notifier.js";
import type { Clock } from "../interfaces/system.js";
import { isCount, type Guard } from "../model/guards.js";
import { keys, prefixes } from "./keys.js";
import { isAlive } from "./lease.js";
import { nextRevision, numberAfter, stageObjects } from "./next-revision.js";
import { inForce } from "./suspension.js";
import { pruneTable, type PruneBounds, type Pruned } from "./prune.js";
import * as records from "./records.js";
import type { KeyValueStore, KeyValueReader, KeyValueWriter } from "./key-value.js";

export class LocalStore implements Store {
  readonly #table: KeyValueStore;
  readonly #clock: Clock;
  /** Ends the watches of this handle. */
  readonly #closing = new AbortController();

  constructor(table: KeyValueStore, clock: Clock) {
    this.#table = table;
    this.#clock = clock;
  }

  get backend(): string {
    return this.#table.backend;
  }

  async readHead(): Promise<number | null> {
    return this.#read(headOf);
  }

  async readRevision(number: number): Promise<Revision | null> {
    return this.#read((reader) => revisionOf(reader, number));
  }

  async readState(number: number): Promise<CommittedState> {
    return this.#read((reader) => {
      const revision = revisionOf(reader, number);
      if (revision === null)
        throw new StoreError(
          "revision-missing",
          `revision ${number} is not in the store: it was pruned, or never committed`,
        );
      const objects = new Map<string, StateObject>();
      for (const entry of revision.entries)
        objects.set(refKey(entry), records.decodeObject(reader.get(keys.object(entry.digest)), entry));
      return { revision, objects };
    });
  }

  async listRevisions({
    limit,
    before,
  }: {
    readonly limit: number;
    readonly before?: number;
  }): Promise<readonly Revision[]> {
    return this.#read((reader) => {
      const newest = Math.min(headOf(reader) ?? 0, (before ?? Infinity) - 1);
      const found: Revision[] = [];
      // Prune leaves no gap, so that the first missing number is the end.
      for (let number = newest; number >= 1 && found.length < limit; number -= 1) {
        const revision = revisionOf(reader, number);
        if (revision === null) break;
        found.push(revision);
      }
      return found;
    });
  }

  async commit(draft: RevisionDraft, guard: CommitGuard): Promise<CommitOutcome> {
    const staged = stageObjects(draft.objects);
    const result = await this.#write((writer): CommitOutcome => {
      const lost = lostRace(writer, draft, guard, this.#clock.now());
      if (lost !== null) return lost;
      const head = guard.expectHead === null ? null : revisionOf(writer, guard.expectHead);
      if (guard.expectHead !== null && head === null) {
        throw new StoreError(
          "store-damaged",
          `revision ${guard.expectHead} is head and is not in the store; restore the store from a backup`,
        );
      }
      const { revision, raised } = nextRevision(draft, head, (namespace, name) => versionOf(writer, namespace, name));
      for (const [digest, text] of staged) {
        // An existing object is written again only if it was damaged.
        if (writer.get(keys.object(digest)) !== text) writer.put(keys.object(digest), text);
      }
      for (const { namespace, name, version } of raised) writer.put(keys.policy(namespace, name), String(version));
      writer.put(keys.revision(revision.number), records.encodeRevision(revision));
      writer.put(keys.head, String(revision.number));
      return { outcome: "committed", revision };
    });
    if (result.outcome === "committed") this.#table.announce();
    return result;
  }

  async readPolicyVersion(namespace: string, name: string): Promise<number> {
    return this.#read((reader) => versionOf(reader, namespace, name));
  }

  async prune(keep: PruneBounds): Promise<Pruned> {
    return pruneTable({ read: (work) => this.#read(work), write: (work) => this.#write(work) }, keep);
  }

  async *watch(
    signal: AbortSignal,
    kinds: readonly ChangeKind[] = ["head", "status", "members"],
  ): AsyncGenerator<StoreEvent, void, undefined> {
    const ended = AbortSignal.any([signal, this.#closing.signal]);
    if (ended.aborted) return;
    const notifier = new Notifier();
    const stopListening = this.#table.listen(() => notifier.notify());
    // Here and not only at the end, since a caller that aborts may never request another event.
    ended.addEventListener("abort", stopListening);
    // Closing the store ends the watch, even while it reads.
    const look = (): Promise<Signals | null> =>
      this.#read(signalsOf).catch((error: unknown) => {
        if (ended.aborted) return null;
        throw error;
      });
    const isOver = (): boolean => ended.aborted;
    try {
      let seen = await look();
      if (seen === null) return;
      yield { changed: "head" };
      while (!isOver()) {
        const now = await look();
        if (now === null) return;
        for (const changed of kinds) {
          if (now[changed] !== seen[changed] && !isOver()) yield { changed };
        }
        seen = now;
        await notifier.wait(ended, { ms: this.#table.pollMs, clock: this.#clock });
      }
    } finally {
      ended.removeEventListener("abort", stopListening);
      stopListening();
    }
  }

  async joinMember(member: Member): Promise<void> {
    await this.#writeAndSignal("members", (writer) => {
      writer.put(keys.member(member.id), JSON.stringify(member));
      return true;
    });
  }

  async leaveMember(id: string): Promise<boolean> {
    return this.#writeAndSignal("members", (writer) => {
      const left = [keys.member(id), keys.live(id), keys.status(id)].filter((key) => writer.get(key) !== undefined);
      for (const key of left) writer.remove(key);
      return left.length > 0;
    });
  }

  async listMembers(): Promise<readonly Member[]> {
    return this.#read((reader) => list(reader, prefixes.members, records.isMember, ({ id }) => id));
  }

  async heartbeat(
    node: { readonly id: string; readonly address: string; readonly holder: string },
    ttlMs: number,
  ): Promise<{ readonly held: string | null }> {
    const { id, address, holder } = node;
    const { held, news } = await this.#write((writer) => {
      const now = this.#clock.now();
      const old = optionalRecord(writer, keys.live(id), records.isLiveRecord);
      const alive = old !== null && isAlive(old, now);
      if (alive && old.holder !== holder) return { held: old.holder, news: false };
      writer.put(keys.live(id), JSON.stringify({ id, address, holder, renewedAt: now, ttlMs }));
      // A renewal that changes only the time wakes no watcher.
      const changed = !alive || old.address !== address;
      if (changed) signalChange(writer, "members");
      return { held: null, news: changed };
    });
    if (news) this.#table.announce();
    return { held };
  }

  async endHeartbeat(id: string, holder: string): Promise<void> {
    await this.#writeAndSignal("members", (writer) => {
      const old = optionalRecord(writer, keys.live(id), records.isLiveRecord);
      if (old === null || old.holder !== holder) return false;
      writer.put(keys.live(id), JSON.stringify({ ...old, ttlMs: 0 }));
      return true;
    });
  }

  async listHeartbeats(): Promise<readonly Heartbeat[]> {
    const found = await this.#read((reader) => list(reader, prefixes.live, records.isLiveRecord, ({ id }) => id));
    const now = this.#clock.now();
    return found.map((live) => ({
      id: live.id,
      address: live.address,
      lastSeen: new Date(live.renewedAt).toISOString(),
      alive: isAlive(live, now),
    }));
  }

  async writeNodeStatus(status: NodeStatus): Promise<void> {
    await this.#writeAndSignal("status", (writer) => {
      writer.put(keys.status(status.node), JSON.stringify(status));
      return true;
    });
  }

  async listNodeStatus(): Promise<readonly NodeStatus[]> {
    return this.#read((reader) => list(reader, prefixes.status, records.isNodeStatus, ({ node }) => node));
  }

  async writeSourceStatus(status: SourceStatus, fence: Fence): Promise<boolean> {
    return this.#writeAndSignal("status", (writer) => {
      if (!leads(electionOf(writer), fence, this.#clock.now())) return false;
      writer.put(keys.source, JSON.stringify(status));
      return true;
    });
  }

  async readSourceStatus(): Promise<SourceStatus | null> {
    return this.#read((reader) => optionalRecord(reader, keys.source, records.isSourceStatus));
  }

  async readSourceControl(): Promise<SourceControl> {
    return this.#read((reader) => ({
      suspension: inForce(suspensionOf(reader), this.#clock.now()),
      approval: optionalRecord(reader, keys.approval, records.isApproval),
    }));
  }

  async writeSuspension(suspension: Suspension | null): Promise<boolean> {
    return this.#writeAndSignal("status", (writer) => {
      if (suspension !== null) writer.put(keys.suspension, JSON.stringify(suspension));
      else if (writer.get(keys.suspension) === undefined) return false;
      else writer.remove(keys.suspension);
      return true;
    });
  }

  async writeApproval(approval: Approval): Promise<void> {
    await this.#writeAndSignal("status", (writer) => {
      writer.put(keys.approval, JSON.stringify(approval));
      return true;
    });
  }

  async campaign(
    candidate: { readonly id: string; readonly holder: string },
    ttlMs: number,
  ): Promise<{ readonly fence: Fence | null; readonly leader: string | null }> {
    const { id, holder } = candidate;
    const { won, leader, term } = await this.#write((writer) => {
      const now = this.#clock.now();
      const old = electionOf(writer);
      const current = leaderOf(old, now);
      if (current !== null && (current !== id || old?.holder !== holder))
        return { won: false, leader: current, term: 0 };
      // An expired lease ended its term, even if the same candidate returns: work that began under the old fence must
      // not be finished under the new one.
      const renewed = current !== null;
      const next = renewed ? (old?.term ?? 0) : (old?.term ?? 0) + 1;
      const record: records.ElectionRecord = { leader: id, holder, term: next, renewedAt: now, ttlMs };
      writer.put(keys.election, JSON.stringify(record));
      if (!renewed) signalChange(writer, "members");
      return { won: !renewed, leader: id, term: next };
    });
    if (won) this.#table.announce();
    return { fence: term === 0 ? null : { leader, term }, leader };
  }

  async resign(holder: string): Promise<void> {
    await this.#writeAndSignal("members", (writer) => {
      const old = electionOf(writer);
      if (old === null || old.leader === null || old.holder !== holder) return false;
      writer.put(keys.election, JSON.stringify({ ...old, leader: null }));
      return true;
    });
  }

  async readLeader(): Promise<string | null> {
    return leaderOf(await this.#read(electionOf), this.#clock.now());
  }

  async readFence(): Promise<Fence | null> {
    const election = await this.#read(electionOf);
    const leader = leaderOf(election, this.#clock.now());
    return election === null || leader === null ? null : { leader, term: election.term };
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    await this.#table.close();
  }

  async #read<T>(work: (reader: KeyValueReader) => T): Promise<T> {
    this.#refuseClosed();
    return this.#table.read(work);
  }

  async #write<T>(work: (writer: KeyValueWriter) => T): Promise<T> {
    this.#refuseClosed();
    return this.#table.write(work);
  }

  /** Writes, and notifies the watchers if `work` reports a change. */
  async #writeAndSignal(kind: keyof records.SignalRecord, work: (writer: KeyValueWriter) => boolean): Promise<boolean> {
    const changed = await this.#write((writer) => {
      const done = work(writer);
      if (done) signalChange(writer, kind);
      return done;
    });
    if (changed) this.#table.announce();
    return changed;
  }

  #refuseClosed(): void {
    if (this.#closing.signal.aborted) throw new StoreError("store-unavailable", "the store was closed");
  }
}

/** Returns the reason why the draft cannot be committed, or its earlier commit; null if it can be committed. */
function lostRace(reader: KeyValueReader, draft: RevisionDraft, guard: CommitGuard, now: number): CommitOutcome | null {
  const head = headOf(reader);
  if (head !== guard.expectHead) {
    // The draft can only have become this number: this finds a commit whose answer was lost.
    const own = revisionOf(reader, numberAfter(guard.expectHead));
    if (own !== null && own.commitId === draft.commitId) return { outcome: "committed", revision: own };
  }
  const election = electionOf(reader);
  if (guard.fence !== null && !leads(election, guard.fence, now))
    return { outcome: "fenced", leader: leaderOf(election, now) };
  const suspension = guard.heedSuspension === true ? inForce(suspensionOf(reader), now) : null;
  if (suspension !== null) return { outcome: "suspended", suspension };
  return head === guard.expectHead ? null : { outcome: "stale-head", head };
}

function headOf(reader: KeyValueReader): number | null {
  const text = reader.get(keys.head);
  return text === undefined ? null : records.decode(text, isCount, keys.head);
}

function revisionOf(reader: KeyValueReader, number: number): Revision | null {
  const key = keys.revision(number);
  const record = reader.get(key);
  return record === undefined ? null : records.decodeRevision(record, key);
}

function versionOf(reader: KeyValueReader, namespace: string, name: string): number {
  const key = keys.policy(namespace, name);
  const text = reader.get(key);
  return text === undefined ? 0 : records.decode(text, isCount, key);
}

function electionOf(reader: KeyValueReader): records.ElectionRecord | null {
  return optionalRecord(reader, keys.election, records.isElectionRecord);
}

function suspensionOf(reader: KeyValueReader): Suspension | null {
  return optionalRecord(reader, keys.suspension, records.isSuspension);
}

function leaderOf(election: records.ElectionRecord | null, now: number): string | null {
  return election !== null && isAlive(election, now) ? election.leader : null;
}

function leads(election: records.ElectionRecord | null, fence: Fence, now: number): boolean {
  return election !== null && election.term === fence.term && leaderOf(election, now) === fence.leader;
}

type Signals = { readonly [kind in ChangeKind]: number | null };

function signalsOf(reader: KeyValueReader): Signals {
  const signals = optionalRecord(reader, keys.signals, records.isSignalRecord);
  return { head: headOf(reader), status: signals?.status ?? 0, members: signals?.members ?? 0 };
}

function signalChange(writer: KeyValueWriter, kind: keyof records.SignalRecord): void {
  const old = optionalRecord(writer, keys.signals, records.isSignalRecord) ?? { status: 0, members: 0 };
  writer.put(keys.signals, JSON.stringify({ ...old, [kind]: old[kind] + 1 }));
}

function optionalRecord<T>(reader: KeyValueReader, key: string, guard: Guard<T>): T | null {
  const text = reader.get(key);
  return text === undefined ? null : records.decode(text, guard, key);
}

function list<T>(reader: KeyValueReader, prefix: string, guard: Guard<T>, idOf: (record: T) => string): readonly T[] {
  return [...reader.entries(prefix)].flatMap(
    ([key, text]) => records.decodeOwn(text, guard, key.slice(prefix.length), idOf) ?? [],
  );
}
