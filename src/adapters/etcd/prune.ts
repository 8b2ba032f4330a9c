/**
 * Prune: removes old revisions, and every object that no remaining revision refers to, including those that a lost or
 * interrupted commit staged. Each removal compares head and the prune counter and raises the latter, so that a
 * concurrent commit is either seen here or has to stage again.
 */
import { isCount } from "../../model/guards.js";
import { keys, prefixes } from "../../store/keys.js";
import { isRollout, oldestOf, rolloutOf } from "../../store/rollout.js";
import type { PruneBounds, Pruned } from "../../interfaces/store.js";
import { inBatches, MAX_OPERATIONS } from "./batches.js";
import type { EtcdClient } from "./client.js";
import { PRUNED, unchanged } from "./commit.js";
import type { History } from "./history.js";
import { recordOf } from "./records.js";
import type { Entry, Operation } from "./requests.js";
import { splitValue } from "./values.js";

const MAX_ATTEMPTS = 5;

/** Gives up, with a partial result, if others commit all the time; the next prune continues. */
export async function pruneEtcd(client: EtcdClient, history: History, keep: PruneBounds): Promise<Pruned> {
  let revisions = 0;
  let objects = 0;
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
    const plan = await planPrune(client, history, keep);
    if (plan === null) break;
    const done = await removeAll(client, plan);
    revisions += done.revisions;
    objects += done.objects;
    if (done.isComplete) break;
  }
  return { revisions, objects };
}

interface Plan {
  readonly head: Entry;
  readonly pruned: Entry | null;
  readonly revisions: readonly string[];
  readonly objects: readonly string[];
}

async function planPrune(client: EtcdClient, history: History, keep: PruneBounds): Promise<Plan | null> {
  const { found } = await client.transact([], [{ get: keys.head }, { get: PRUNED }, { get: keys.rollout }]);
  const [head = null, pruned = null, rollout = null] = found.map(([entry]) => entry ?? null);
  if (head === null) return null;
  const number = recordOf(head, isCount);
  const record = rollout === null ? null : rolloutOf(recordOf(rollout, isRollout), number);
  const needed = Math.min(number, oldestOf(record) ?? number);
  const lastAllowed = keys.revision(Math.min(number - keep.revisions, needed - 1));
  const named = new Set<string>();
  const old: string[] = [];
  const stored = (await client.list({ prefix: prefixes.revisions, keysOnly: true })).map(({ key }) => key);
  const read = (key: string) => history.readRevision(Number(key.slice(prefixes.revisions.length)));
  for (const key of stored) {
    const revision = key > lastAllowed ? null : await read(key);
    if (key > lastAllowed || (revision !== null && revision.time >= keep.newerThan)) break;
    old.push(key);
  }
  // Most of the time there is nothing to remove, and nothing more to read.
  if (old.length === 0) return null;
  for (const key of stored.slice(old.length))
    for (const { digest } of (await read(key))?.entries ?? []) named.add(keys.object(digest));
  const objects = await client.list({ prefix: prefixes.objects, keysOnly: true });
  return { head, pruned, revisions: old, objects: objects.map(({ key }) => key).filter((key) => !named.has(key)) };
}

/** Objects first: the remaining revisions let a later prune find an interrupted one. */
async function removeAll(client: EtcdClient, plan: Plan): Promise<Pruned & { readonly isComplete: boolean }> {
  const removed = { revisions: 0, objects: 0 };
  let counter = plan.pruned;
  for (const kind of ["objects", "revisions"] as const) {
    for (const batch of inBatches(
      plan[kind].flatMap((key): readonly Operation[] => [{ remove: key }, { removeAll: splitValue(key) }]),
      () => (1024 * 1024) / (MAX_OPERATIONS - 2),
    )) {
      const {
        succeeded,
        revision,
        removed: counts,
      } = await client.transact(
        [unchanged(keys.head, plan.head), unchanged(PRUNED, counter)],
        [...batch, { put: PRUNED, bytes: Buffer.from("") }],
      );
      if (!succeeded) return { ...removed, isComplete: false };
      removed[kind] += batch.filter((operation, index) => "remove" in operation && (counts[index] ?? 0) > 0).length;
      counter = { key: PRUNED, bytes: Buffer.from(""), created: 0, modified: revision, lease: "0" };
    }
  }
  return { ...removed, isComplete: true };
}
