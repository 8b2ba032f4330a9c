/**
 * Commits a revision: objects, the parts of long values and the last versions of deleted policies are staged first,
 * invisible to readers; then one transaction that compares head, the leader's fence and the prune counter makes the
 * revision visible.
 *
 * A lost answer is harmless: the repeated transaction fails its comparison, and the attempt's own commit id is found in
 * the revision with its number.
 */
import type { Revision, RevisionEntry, StateObject } from "../../model/state.js";
import { refKey } from "../../model/state.js";
import { StoreError, type CommitGuard, type CommitOutcome, type RevisionDraft } from "../../interfaces/store.js";
import { isCount } from "../../model/guards.js";
import { keys, STORE_FORMAT } from "../../store/keys.js";
import { nextRevision, numberAfter, stageObjects } from "../../store/next-revision.js";
import { inForce } from "../../store/suspension.js";
import { encodeRevision, encodeSuspension, isSuspension } from "../../store/records.js";
import { isRollout, rolloutOf, tidyRollout } from "../../store/rollout.js";
import { inBatches, mapBounded } from "./batches.js";
import type { EtcdClient } from "./client.js";
import type { History } from "./history.js";
import { encodeLong, isLeader, readTexts, recordOf } from "./records.js";
import type { Condition, Entry, Operation } from "./requests.js";
import { encodeValue } from "./values.js";

/** Rises with every removal of objects, so that a commit that relies on one of them notices. */
export const PRUNED = "pruned";
/** How often a prune, or a race with this commit's own earlier attempt, may restart a commit. */
const MAX_ATTEMPTS = 20;

/** Up to this many new objects are written in the transaction that makes the commit visible. */
const MAX_INLINE = 50;
const MAX_INLINE_BYTES = 512 * 1024;

interface Attempt {
  readonly draft: RevisionDraft;
  readonly guard: CommitGuard;
}

interface Basis {
  readonly head: Entry | null;
  readonly number: number | null;
  readonly leader: { readonly name: string; readonly term: number } | null;
  readonly pruned: Entry | null;
  readonly suspension: Entry | null;
  readonly rollout: Entry | null;
  /** The revision that the draft was planned against. */
  readonly expected: Entry | null;
}

export async function commitRevision(
  client: EtcdClient,
  history: History,
  draft: RevisionDraft,
  guard: CommitGuard,
): Promise<CommitOutcome> {
  const staged = stageObjects(draft.objects);
  for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
    const basis = await readBasis(client, guard);
    const lost = await lostRace(history, basis, draft, guard, client.clock.now());
    if (lost !== null) return lost;
    const head = basis.expected === null ? null : await history.decodeRevision(basis.expected);
    if (basis.number !== null && head === null) {
      throw new StoreError(
        "store-damaged",
        `revision ${basis.number} is head and is not in the store; restore the store from a backup`,
      );
    }
    const versions = await readVersions(client, draft.objects, head);
    const { revision } = nextRevision(draft, head, (namespace, name) => versions(keys.policy(namespace, name)));
    const inline = await stage(client, staged);
    const isStaged = await stageDeleted(client, basis, head, draft.objects);
    if (isStaged && (await moveHead(client, basis, { draft, guard }, revision, inline)))
      return { outcome: "committed", revision };
  }
  throw new StoreError(
    "store-unavailable",
    "the store was pruned or written to during every attempt; nothing was committed, try again",
  );
}

async function readBasis(client: EtcdClient, { expectHead }: CommitGuard): Promise<Basis> {
  const wanted = [
    keys.head,
    keys.election,
    PRUNED,
    keys.suspension,
    keys.rollout,
    ...(expectHead === null ? [] : [keys.revision(expectHead)]),
  ];
  const { found } = await client.transact(
    [],
    wanted.map((get) => ({ get })),
  );
  const [head = null, election = null, pruned = null, suspension = null, rollout = null, expected = null] = found.map(
    ([entry]) => entry ?? null,
  );
  return {
    head,
    number: head === null ? null : recordOf(head, isCount),
    leader: election === null ? null : { name: recordOf(election, isLeader).leader, term: election.created },
    pruned,
    suspension,
    rollout,
    expected,
  };
}

/** Returns the reason why the draft cannot be committed, or its earlier commit; null if it can be committed. */
async function lostRace(
  history: History,
  basis: Basis,
  draft: RevisionDraft,
  guard: CommitGuard,
  now: number,
): Promise<CommitOutcome | null> {
  const { number, leader } = basis;
  if (number !== guard.expectHead) {
    // The draft can only have become this number: this finds a commit whose reply was lost.
    const own = await history.readRevision(numberAfter(guard.expectHead));
    if (own !== null && own.commitId === draft.commitId) return { outcome: "committed", revision: own };
  }
  if (guard.fence !== null && (leader?.term !== guard.fence.term || leader.name !== guard.fence.leader))
    return { outcome: "fenced", leader: leader?.name ?? null };
  if (guard.heedSuspension === true && basis.suspension !== null) {
    const suspension = inForce(recordOf(basis.suspension, isSuspension), now);
    if (suspension !== null) return { outcome: "suspended", suspension };
  }
  return number === guard.expectHead ? null : { outcome: "stale-head", head: number };
}

/**
 * Returns the last versions ever used for the draft's policies: from head's manifest, and for policies that are not in
 * it from their own keys.
 */
async function readVersions(
  client: EtcdClient,
  objects: readonly StateObject[],
  head: Revision | null,
): Promise<(key: string) => number> {
  const versions = new Map(policiesOf(head).map((entry) => [policyKey(entry), entry.version ?? 0]));
  const isNew = objects
    .filter(({ ref }) => ref.kind === "NetworkPolicy")
    .map(({ ref }) => policyKey(ref))
    .filter((key) => !versions.has(key));
  for (const [key, entry] of await client.getMany(isNew)) versions.set(key, recordOf(entry, isCount));
  return (key) => versions.get(key) ?? 0;
}

interface Value {
  readonly key: string;
  readonly bytes: Buffer;
}

/** Writes objects that are missing or damaged; if they are few and small, returns them to be written later. */
async function stage(client: EtcdClient, staged: ReadonlyMap<string, string>): Promise<readonly Value[]> {
  const wanted = [...staged].map(([digest, text]) => ({ key: keys.object(digest), text }));
  const there = await client.getMany(wanted.map(({ key }) => key));
  const texts = await readTexts(client, [...there.values()]).catch((error: unknown) => {
    // The value cannot be decompressed, or lacks parts: all of them are written again.
    if (error instanceof StoreError && error.code === "store-damaged") return new Map<string, string>();
    throw error;
  });
  const missing = wanted
    .filter(({ key, text }) => texts.get(key) !== text)
    .map(({ key, text }) => ({ key, ...encodeValue(key, text) }));
  const bytes = missing.reduce((sum, value) => sum + value.bytes.length, 0);
  if (missing.length <= MAX_INLINE && bytes <= MAX_INLINE_BYTES && missing.every(({ parts }) => parts.length === 0))
    return missing;
  await putAll(
    client,
    missing.flatMap(({ parts }) => parts),
  );
  await putAll(client, missing);
  return [];
}

async function putAll(client: EtcdClient, values: readonly Value[]): Promise<void> {
  await mapBounded(
    inBatches(values, ({ bytes }) => bytes.length),
    (batch) =>
      client.transact(
        [],
        batch.map(({ key, bytes }) => ({ put: key, bytes })),
      ),
  );
}

/**
 * Keeps the versions of policies that the draft deletes. The records are true whether or not the draft is committed:
 * head, which is compared, used these versions. Returns false if head has moved.
 */
async function stageDeleted(
  client: EtcdClient,
  basis: Basis,
  head: Revision | null,
  objects: readonly StateObject[],
): Promise<boolean> {
  const kept = new Set(objects.map(({ ref }) => refKey(ref)));
  const deleted = policiesOf(head).filter((entry) => !kept.has(refKey(entry)));
  const results = await mapBounded(inBatches(deleted), (batch) =>
    client.transact(
      [unchanged(keys.head, basis.head)],
      batch.map((entry) => ({ put: policyKey(entry), bytes: Buffer.from(String(entry.version ?? 0)) })),
    ),
  );
  return results.every(({ succeeded }) => succeeded);
}

async function moveHead(
  client: EtcdClient,
  basis: Basis,
  { draft, guard }: Attempt,
  revision: Revision,
  inline: readonly Value[],
): Promise<boolean> {
  const key = keys.revision(revision.number);
  const { bytes, parts } = encodeValue(key, encodeRevision(revision));
  await putAll(client, parts);
  const conditions: Condition[] = [unchanged(keys.head, basis.head), unchanged(PRUNED, basis.pruned)];
  if (guard.fence !== null) conditions.push({ key: keys.election, created: guard.fence.term });
  if (guard.heedSuspension === true) conditions.push(unchanged(keys.suspension, basis.suspension));
  const operations: Operation[] = [
    ...inline.map((value) => ({ put: value.key, bytes: value.bytes })),
    { put: key, bytes },
    { put: keys.head, bytes: Buffer.from(String(revision.number)) },
  ];
  const { suspension } = draft;
  if (suspension !== undefined)
    operations.push({ put: keys.suspension, bytes: Buffer.from(encodeSuspension(suspension)) });
  const rollout = rolloutChange(basis, draft, revision.number);
  if (rollout !== null) {
    conditions.push(unchanged(keys.rollout, basis.rollout));
    operations.push(rollout);
  }
  if (basis.head === null) operations.push({ put: keys.format, bytes: Buffer.from(STORE_FORMAT) });
  return (await client.transact(conditions, operations)).succeeded;
}

/**
 * Returns what becomes of the record of the rollout; null if there is none, and none begins. A commit without a rollout does
 * not read the record: an undo goes over a damaged one as well.
 */
function rolloutChange({ rollout, number }: Basis, draft: RevisionDraft, next: number): Operation | null {
  const begin = draft.rollout;
  const current = begin === undefined || rollout === null ? null : rolloutOf(recordOf(rollout, isRollout), number);
  const begun = begin?.(current, next) ?? null;
  if (begun !== null) return { put: keys.rollout, bytes: encodeLong(tidyRollout(begun)) };
  return rollout === null ? null : { remove: keys.rollout };
}

export function unchanged(key: string, entry: Entry | null): Condition {
  return entry === null ? { key, created: 0 } : { key, modified: entry.modified };
}

function policiesOf(revision: Revision | null): readonly RevisionEntry[] {
  return revision?.entries.filter(({ kind }) => kind === "NetworkPolicy") ?? [];
}

function policyKey({ namespace, name }: Pick<RevisionEntry, "namespace" | "name">): string {
  return keys.policy(namespace ?? "", name);
}
