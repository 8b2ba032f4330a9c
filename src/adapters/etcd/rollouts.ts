/** Head with its rollout, read at once; and the record of the rollout, written by comparing and setting. */
import type { Fence } from "../../interfaces/store.js";
import { isCount } from "../../model/guards.js";
import type { Release, Rollout } from "../../model/rollout.js";
import { keys } from "../../store/keys.js";
import { isRollout, isSameRollout, rolloutOf, tidyRollout } from "../../store/rollout.js";
import type { EtcdClient } from "./client.js";
import { unchanged } from "./commit.js";
import type { History } from "./history.js";
import { encodeLong, recordOf } from "./records.js";
import type { Condition, Entry } from "./requests.js";
import type { WatchCache } from "./watch-cache.js";

export class Rollouts {
  constructor(
    private readonly client: EtcdClient,
    private readonly history: History,
    private readonly watchCache: WatchCache,
  ) {}

  /**
   * @param watched may return head as a watch brought it, if it brought no rollout: one of the same commit would have come with
   * it
   */
  async readRelease(watched: boolean): Promise<Release> {
    const brought = watched && this.watchCache.hasNoRollout ? this.history.takeWatchedHead() : null;
    if (brought !== null) return { head: brought, rollout: null };
    const note = this.watchCache.expectRollout();
    const { head, record } = await this.#read();
    note(record);
    const number = this.history.noteHead(head === null ? null : recordOf(head, isCount));
    return { head: number, rollout: record === null ? null : rolloutOf(recordOf(record, isRollout), number) };
  }

  async write(
    next: Rollout,
    { expect, fence }: { readonly expect: Rollout; readonly fence: Fence | null },
  ): Promise<boolean> {
    const { head, record } = await this.#read();
    const current = record === null ? null : recordOf(record, isRollout);
    const isHead = head !== null && recordOf(head, isCount) === expect.revision;
    if (!isHead || !isSameRollout(current, expect)) return false;
    const bytes = encodeLong(tidyRollout(next));
    const conditions: Condition[] = [unchanged(keys.head, head), unchanged(keys.rollout, record)];
    if (fence !== null) conditions.push({ key: keys.election, created: fence.term });
    const { succeeded } = await this.client.transact(conditions, [{ put: keys.rollout, bytes }]);
    if (succeeded) return true;
    // The answer to an earlier attempt of this call may be lost.
    return (await this.#read()).record?.bytes.equals(bytes) === true;
  }

  async #read(): Promise<{ readonly head: Entry | null; readonly record: Entry | null }> {
    const { found } = await this.client.transact([], [{ get: keys.head }, { get: keys.rollout }]);
    const [head = null, record = null] = found.map(([entry]) => entry ?? null);
    return { head, record };
  }
}
