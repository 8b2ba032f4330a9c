/**
 * Members, heartbeats and leadership in etcd. A role is held while the node's ID is stored under a live lease. Each
 * call reads the key first, so that the effect of a lost answer is found and not repeated.
 */
import type { Heartbeat, Member } from "../../model/status.js";
import { StoreError, type DamagedRecord, type Fence } from "../../interfaces/store.js";
import { keys, prefixes } from "../../store/keys.js";
import { damagedRecord, ENDPOINTS, MEMBER, STATUS } from "../../store/records.js";
import { mapBounded } from "./batches.js";
import type { EtcdClient } from "./client.js";
import { unchanged } from "./commit.js";
import { grantedTtl, grantLease, leaseAge, renewLease, revokeLease } from "./leases.js";
import {
  encodeRecord,
  HEARTBEAT,
  isHeartbeatRecord,
  isLeader,
  ownRecordOf,
  recordOf,
  SEEN,
  type HeartbeatRecord,
  type LeaderRecord,
} from "./records.js";
import type { Entry } from "./requests.js";

/** `seen/<id>`: the last time a node was known to live; outlives its lease. */
const seenKey = (id: string): string => keys.live(id).replace(prefixes.live, prefixes.seen);
/** How old the `lastSeen` of a dead node may be at its death. */
const SEEN_EVERY_MS = 60_000;
/** Largest number of rounds; each round follows a lost race, and this many in a row do not happen. */
const MAX_ROUNDS = 10;

export class Membership {
  readonly #client: EtcdClient;
  /** Time of the last `seen` record that this process wrote, by node; monotonic. */
  readonly #seenAt = new Map<string, number>();
  /** The state of another leader's record, and when this process saw it first; monotonic. */
  #leaderSeen: { readonly modified: number; readonly at: number } | null = null;

  constructor(client: EtcdClient) {
    this.#client = client;
  }

  async join(member: Member): Promise<void> {
    await this.#client.transact([], [{ put: keys.member(member.id), bytes: encodeRecord(member) }]);
  }

  async leave(id: string): Promise<boolean> {
    const gone = [keys.member(id), keys.live(id), seenKey(id), keys.status(id), keys.endpoints(id)];
    const { removed } = await this.#client.transact(
      [],
      gone.map((remove) => ({ remove })),
    );
    this.#seenAt.delete(id);
    return removed.some((count) => count > 0);
  }

  async listMembers(): Promise<readonly Member[]> {
    const entries = await this.#client.list({ prefix: prefixes.members });
    return entries.flatMap((entry) => ownRecordOf(entry, MEMBER) ?? []);
  }

  async heartbeat(heartbeat: HeartbeatRecord, ttlMs: number): Promise<{ readonly held: string | null }> {
    const key = keys.live(heartbeat.id);
    for (let round = 1; round <= MAX_ROUNDS; round += 1) {
      const entry = await this.#client.get(key);
      const old = entry === null ? null : recordOf(entry, isHeartbeatRecord);
      if (old !== null && old.holder !== heartbeat.holder) return { held: old.holder };
      // If the lease expired meanwhile, the key went with it, and the next round claims it.
      if (entry !== null && !(await renewLease(this.#client, entry.lease))) continue;
      const isHeld =
        entry === null
          ? (await this.#claim(key, heartbeat, ttlMs)) !== null
          : old?.address === heartbeat.address || (await this.#rewrite(entry, heartbeat));
      if (!isHeld) continue;
      await this.#see(heartbeat, entry === null);
      return { held: null };
    }
    throw contended(key);
  }

  async endHeartbeat(id: string, holder: string): Promise<void> {
    const entry = await this.#client.get(keys.live(id));
    if (entry === null) return;
    const heartbeat = recordOf(entry, isHeartbeatRecord);
    if (heartbeat.holder !== holder) return;
    await this.#see(heartbeat, true);
    await revokeLease(this.#client, entry.lease);
  }

  /** Returns the heartbeats: of live nodes by their leases, of dead ones by their last `seen` record. */
  async listHeartbeats(): Promise<readonly Heartbeat[]> {
    const { found } = await this.#client.transact([], [{ list: prefixes.live }, { list: prefixes.seen }]);
    const [live = [], seen = []] = found;
    const living = await mapBounded(live, async (entry): Promise<readonly Heartbeat[]> => {
      const heartbeat = ownRecordOf(entry, HEARTBEAT);
      if (heartbeat === null) return [];
      const { id, address } = heartbeat;
      const age = await leaseAge(this.#client, entry.lease);
      return age === null ? [] : [{ id, address, lastSeen: this.#timestamp(age), alive: true }];
    });
    const byNode = new Map(
      seen.flatMap((entry) => ownRecordOf(entry, SEEN) ?? []).map((record) => [record.id, { ...record, alive: false }]),
    );
    for (const heartbeat of living.flat()) byNode.set(heartbeat.id, heartbeat);
    return [...byNode.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  async listDamaged(): Promise<readonly DamagedRecord[]> {
    const kinds = [MEMBER, HEARTBEAT, SEEN, STATUS, ENDPOINTS];
    const { found } = await this.#client.transact(
      [],
      kinds.map(({ prefix }) => ({ list: prefix })),
    );
    return kinds.flatMap((kind, index) =>
      (found[index] ?? []).flatMap((entry) =>
        ownRecordOf<unknown>(entry, kind) === null ? [damagedRecord(kind, entry.key)] : [],
      ),
    );
  }

  async campaign(
    { id, holder }: { readonly id: string; readonly holder: string },
    ttlMs: number,
  ): Promise<{ readonly fence: Fence | null; readonly leader: string | null }> {
    for (let round = 1; round <= MAX_ROUNDS; round += 1) {
      const entry = await this.#client.get(keys.election);
      if (entry === null) {
        const term = await this.#claim(keys.election, { leader: id, holder, renewals: 0 }, ttlMs);
        if (term !== null) return { fence: { leader: id, term }, leader: id };
        continue;
      }
      const record = recordOf(entry, isLeader);
      if (record.leader !== id || record.holder !== holder) {
        if (!(await this.#isDead(entry, record, ttlMs))) return { fence: null, leader: record.leader };
        await this.#client.transact([unchanged(keys.election, entry)], [{ remove: keys.election }]);
        continue;
      }
      // An expired lease ended the term, even if the same candidate returns.
      if (!(await renewLease(this.#client, entry.lease))) continue;
      if (await this.#rewrite(entry, { leader: id, holder, renewals: (record.renewals ?? 0) + 1 }))
        return { fence: { leader: id, term: entry.created }, leader: id };
    }
    throw contended(keys.election);
  }

  /**
   * Returns whether a leader is dead although its lease lives. etcd lets every user renew every lease, so that a node that
   * may write nothing of a leader's could keep a dead one in office. A living leader also writes its record.
   */
  async #isDead({ modified, lease }: Entry, { renewals }: LeaderRecord, ttlMs: number): Promise<boolean> {
    const now = this.#client.clock.monotonic();
    if (this.#leaderSeen?.modified !== modified) this.#leaderSeen = { modified, at: now };
    const unchangedFor = now - this.#leaderSeen.at;
    // A version that writes no renewals is believed.
    if (renewals === undefined || unchangedFor <= ttlMs) return false;
    const granted = await grantedTtl(this.#client, lease);
    return granted !== null && unchangedFor > 2 * Math.max(granted, ttlMs);
  }

  async resign(holder: string): Promise<void> {
    const entry = await this.#client.get(keys.election);
    if (entry !== null && recordOf(entry, isLeader).holder === holder) await revokeLease(this.#client, entry.lease);
  }

  async readFence(): Promise<Fence | null> {
    const entry = await this.#client.get(keys.election);
    return entry === null ? null : { leader: recordOf(entry, isLeader).leader, term: entry.created };
  }

  /**
   * Creates the record if there is none, on a lease of its own. Returns the revision that created it; null if another
   * process was faster.
   */
  async #claim(key: string, record: object, ttlMs: number): Promise<number | null> {
    const lease = await grantLease(this.#client, ttlMs);
    let created: number | null = null;
    try {
      const put = { put: key, bytes: encodeRecord(record), lease };
      const { succeeded, revision, found } = await this.#client.transact([{ key, created: 0 }], [put], [{ get: key }]);
      const [own] = found.flat();
      // The request was repeated, since the first answer was lost: the key exists already, on this lease.
      created = succeeded ? revision : own?.lease === lease ? own.created : null;
      return created;
    } finally {
      if (created === null) await revokeLease(this.#client, lease).catch(() => undefined);
    }
  }

  async #rewrite(entry: Entry, record: object): Promise<boolean> {
    const put = { put: entry.key, bytes: encodeRecord(record), lease: entry.lease };
    return (await this.#client.transact([unchanged(entry.key, entry)], [put])).succeeded;
  }

  async #see({ id, address }: HeartbeatRecord, isNews: boolean): Promise<void> {
    const now = this.#client.clock.monotonic();
    const at = this.#seenAt.get(id);
    if (!isNews && at !== undefined && now - at < SEEN_EVERY_MS) return;
    await this.#client.transact(
      [],
      [{ put: seenKey(id), bytes: encodeRecord({ id, address, lastSeen: this.#timestamp(0) }) }],
    );
    this.#seenAt.set(id, now);
  }

  #timestamp(agoMs: number): string {
    return new Date(this.#client.clock.now() - agoMs).toISOString();
  }
}

function contended(key: string): StoreError {
  return new StoreError(
    "store-unavailable",
    `the store's record ${key} was claimed and lost during every attempt; try again`,
  );
}
