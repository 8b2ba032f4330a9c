/** Members, the leases of their agents, and the lease of the leader. */
import type { DamagedRecord, Fence } from "../../interfaces/store.js";
import type { Heartbeat, Member } from "../../model/status.js";
import { keys } from "../keys.js";
import { ENDPOINTS, isLiveRecord, LIVE, MEMBER, STATUS, type ElectionRecord } from "../records.js";
import { isAlive } from "../lease.js";
import { electionOf, leaderOf, listDamaged, listRecords, optionalRecord } from "./lookup.js";
import { signalChange, type Transactions } from "./transactions.js";

export class LocalMembership {
  readonly #store: Transactions;

  constructor(store: Transactions) {
    this.#store = store;
  }

  async joinMember(member: Member): Promise<void> {
    await this.#store.change("members", (writer) => {
      writer.put(keys.member(member.id), JSON.stringify(member));
      return true;
    });
  }

  async leaveMember(id: string): Promise<boolean> {
    return this.#store.change("members", (writer) => {
      const own = [keys.member(id), keys.live(id), keys.status(id), keys.endpoints(id)];
      const left = own.filter((key) => writer.get(key) !== undefined);
      for (const key of left) writer.remove(key);
      if (left.includes(keys.endpoints(id))) signalChange(writer, "endpoints");
      return left.length > 0;
    });
  }

  async listMembers(): Promise<readonly Member[]> {
    return this.#store.read((reader) => listRecords(reader, MEMBER));
  }

  async heartbeat(
    node: { readonly id: string; readonly address: string; readonly holder: string },
    ttlMs: number,
  ): Promise<{ readonly held: string | null }> {
    const { id, address, holder } = node;
    const { held, news } = await this.#store.write((writer) => {
      const now = this.#store.clock.now();
      const old = optionalRecord(writer, keys.live(id), isLiveRecord);
      const alive = old !== null && isAlive(old, now);
      if (alive && old.holder !== holder) return { held: old.holder, news: false };
      writer.put(keys.live(id), JSON.stringify({ id, address, holder, renewedAt: now, ttlMs }));
      // A renewal that changes only the time wakes no watcher.
      const changed = !alive || old.address !== address;
      if (changed) signalChange(writer, "members");
      return { held: null, news: changed };
    });
    if (news) this.#store.announce();
    return { held };
  }

  async endHeartbeat(id: string, holder: string): Promise<void> {
    await this.#store.change("members", (writer) => {
      const old = optionalRecord(writer, keys.live(id), isLiveRecord);
      if (old === null || old.holder !== holder) return false;
      writer.put(keys.live(id), JSON.stringify({ ...old, ttlMs: 0 }));
      return true;
    });
  }

  async listHeartbeats(): Promise<readonly Heartbeat[]> {
    const found = await this.#store.read((reader) => listRecords(reader, LIVE));
    const now = this.#store.clock.now();
    return found.map((live) => ({
      id: live.id,
      address: live.address,
      lastSeen: new Date(live.renewedAt).toISOString(),
      alive: isAlive(live, now),
    }));
  }

  async listDamaged(): Promise<readonly DamagedRecord[]> {
    return this.#store.read((reader) => [
      ...listDamaged(reader, MEMBER),
      ...listDamaged(reader, LIVE),
      ...listDamaged(reader, STATUS),
      ...listDamaged(reader, ENDPOINTS),
    ]);
  }

  async campaign(
    candidate: { readonly id: string; readonly holder: string },
    ttlMs: number,
  ): Promise<{ readonly fence: Fence | null; readonly leader: string | null }> {
    const { id, holder } = candidate;
    const { won, leader, term } = await this.#store.write((writer) => {
      const now = this.#store.clock.now();
      const old = electionOf(writer);
      const current = leaderOf(old, now);
      if (current !== null && (current !== id || old?.holder !== holder))
        return { won: false, leader: current, term: 0 };
      // An expired lease ended its term, even if the same candidate returns: work that began under the old fence must
      // not be finished under the new one.
      const renewed = current !== null;
      const next = renewed ? (old?.term ?? 0) : (old?.term ?? 0) + 1;
      const record: ElectionRecord = { leader: id, holder, term: next, renewedAt: now, ttlMs };
      writer.put(keys.election, JSON.stringify(record));
      if (!renewed) signalChange(writer, "members");
      return { won: !renewed, leader: id, term: next };
    });
    if (won) this.#store.announce();
    return { fence: term === 0 ? null : { leader, term }, leader };
  }

  async resign(holder: string): Promise<void> {
    await this.#store.change("members", (writer) => {
      const old = electionOf(writer);
      if (old === null || old.leader === null || old.holder !== holder) return false;
      writer.put(keys.election, JSON.stringify({ ...old, leader: null }));
      return true;
    });
  }

  async readLeader(): Promise<string | null> {
    return leaderOf(await this.#store.read(electionOf), this.#store.clock.now());
  }

  async readFence(): Promise<Fence | null> {
    const election = await this.#store.read(electionOf);
    const leader = leaderOf(election, this.#store.clock.now());
    return election === null || leader === null ? null : { leader, term: election.term };
  }
}
