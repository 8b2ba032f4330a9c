/**
 * Watch cache: entries that a watch brought, so that a follower need not read them: objects and revisions, which are
 * written once and whose digests are checked at use, and head. Each entry is returned once, so that a second or
 * periodic read asks etcd, as does a read of a missing entry. The cache saves a hundred nodes four calls each after a
 * commit. Of a rollout it knows only that there is none: where there is one, it is read with head.
 */
import { keys, prefixes } from "../../store/keys.js";
import type { Entry } from "./requests.js";

const MAX_BYTES = 16 * 1024 * 1024;

export class WatchCache {
  readonly #entries = new Map<string, Entry>();
  #bytes = 0;
  /** Whether every change since now reaches `add`. */
  #isWatching = false;
  /** Whether the store had no rollout when it was read, and none was written since. */
  #hasNoRollout = false;
  /** Counts what may have made an answer about the rollout false. */
  #rolloutChanges = 0;

  /** The watch stands: later changes are reported. */
  begin(): void {
    this.#isWatching = true;
  }

  get hasNoRollout(): boolean {
    return this.#hasNoRollout;
  }

  /** Returns the function that takes the answer of a read that begins now. */
  expectRollout(): (rollout: Entry | null) => void {
    const changes = this.#rolloutChanges;
    const isWatching = this.#isWatching;
    return (rollout) => {
      this.#hasNoRollout = rollout === null && isWatching && changes === this.#rolloutChanges;
    };
  }

  #forgetRollout(): void {
    this.#hasNoRollout = false;
    this.#rolloutChanges += 1;
  }

  add(entry: Entry): void {
    if (entry.key === keys.rollout) this.#forgetRollout();
    const isOfUse =
      entry.key === keys.head || entry.key.startsWith(prefixes.objects) || entry.key.startsWith(prefixes.revisions);
    if (!isOfUse) return;
    this.take(entry.key);
    this.#entries.set(entry.key, entry);
    this.#bytes += entry.bytes.length;
    for (const key of this.#entries.keys()) {
      if (this.#bytes <= MAX_BYTES) break;
      this.take(key);
    }
  }

  take(key: string): Entry | null {
    const entry = this.#entries.get(key);
    if (entry === undefined) return null;
    this.#entries.delete(key);
    this.#bytes -= entry.bytes.length;
    return entry;
  }

  remove(key: string): void {
    this.take(key);
  }

  /** Clears the cache after a lost stream: its entries may have been removed and written again meanwhile. */
  clear(): void {
    this.#entries.clear();
    this.#bytes = 0;
    this.#isWatching = false;
    this.#forgetRollout();
  }
}
