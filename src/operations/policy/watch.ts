/** Follows the policies in force and every committed change of them. */
import { diffKeyed } from "../../diff/keyed.js";
import type { Revision } from "../../model/state.js";
import { qualifiedName } from "../../model/state.js";
import type { Store } from "../../interfaces/store.js";
import type { PolicyRow } from "./report.js";
import { policyRows } from "./report.js";

/** For `deleted`: the last version, and the time, node and revision of the deletion. */
export interface PolicyEvent extends PolicyRow {
  readonly action: "current" | "created" | "updated" | "deleted";
}

export interface WatchOptions {
  /**
   * The revision that the caller knows already: only later changes are yielded. If it was pruned or never existed, the
   * policies are listed again as `current`.
   */
  readonly since?: number;
}

/** The revision that was read last. */
interface Seen {
  readonly number: number;
  /** Distinguishes this revision from another of the same number in a store that was replaced; null for none. */
  readonly commitId: string | null;
  readonly rows: ReadonlyMap<string, PolicyRow>;
}

/**
 * Yields the changes. Every revision is read, even if several were committed between two wake-ups, so that no version
 * is skipped; only revisions that were pruned meanwhile are passed over. If the store no longer has the revision that
 * was read last, its policies are listed again.
 */
export async function* watchPolicies(
  store: Store,
  signal: AbortSignal,
  { since }: WatchOptions = {},
): AsyncGenerator<PolicyEvent> {
  let seen = since === undefined ? null : await readSeen(store, since);
  for await (const event of store.watch(signal)) {
    if (event.changed !== "head") continue;
    const head = (await store.readHead()) ?? 0;
    if (seen !== null && !(await followsOn(store, seen, head))) seen = null;
    if (seen === null) {
      const revision = await store.readRevision(head);
      if (revision !== null) yield* changes(new Map(), revision, "current");
      seen = toSeen(head, revision);
      continue;
    }
    for (let number = seen.number + 1; number <= head; number += 1) {
      const revision = await store.readRevision(number);
      if (revision === null) continue;
      yield* changes(seen.rows, revision, "created");
      seen = toSeen(number, revision);
    }
  }
}

async function readSeen(store: Store, number: number): Promise<Seen | null> {
  const revision = await store.readRevision(number);
  return revision === null && number !== 0 ? null : toSeen(number, revision);
}

function toSeen(number: number, revision: Revision | null): Seen {
  const rows = new Map((revision === null ? [] : policyRows(revision)).map((row) => [qualifiedName(row), row]));
  return { number, commitId: revision?.commitId ?? null, rows };
}

async function followsOn(store: Store, seen: Seen, head: number): Promise<boolean> {
  if (head < seen.number) return false;
  const revision = seen.number === 0 ? null : await store.readRevision(seen.number);
  // A pruned revision is no sign of a replaced store: the data read from it stays true.
  return revision === null || revision.commitId === seen.commitId;
}

function* changes(
  before: ReadonlyMap<string, PolicyRow>,
  revision: Revision,
  created: "current" | "created",
): Generator<PolicyEvent> {
  const after = new Map(policyRows(revision).map((row) => [qualifiedName(row), row]));
  const diff = diffKeyed(after, before, (a, b) => a.version === b.version);
  for (const { wanted } of diff.missing) yield { ...wanted, action: created };
  for (const { wanted } of diff.changed) yield { ...wanted, action: "updated" };
  for (const { actual } of diff.extra) {
    const { number, node, time, source } = revision;
    const deletion = { revision: number, sourceNode: node, updatedAt: time };
    yield { ...actual, ...deletion, commit: source.commit, dirty: source.dirty, action: "deleted" };
  }
}
