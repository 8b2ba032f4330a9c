/** The revisions that the store still keeps, each with its author, reason and number of changes. */
import { diffKeyed } from "../../diff/keyed.js";
import type { Revision, RevisionEntry } from "../../model/state.js";
import { refKey } from "../../model/state.js";
import type { Store } from "../../interfaces/store.js";

export interface RevisionRow {
  readonly number: number;
  readonly time: string;
  readonly author: string;
  readonly node: string;
  readonly commit: string | null;
  /** True if it was committed from a work tree with changes that are not in the commit. */
  readonly dirty: boolean;
  readonly reason: string;
  /** First line of the commit's message; null without one. */
  readonly subject: string | null;
  /** The earlier revision whose state it restores; null for none. */
  readonly restores: number | null;
  /** Counts of objects; null if the revision before it was pruned, so that they are unknown. */
  readonly changes: { readonly create: number; readonly update: number; readonly delete: number } | null;
}

export interface RevisionList {
  /** Newest first. */
  readonly revisions: readonly RevisionRow[];
  /** Whether there were older ones, which the store no longer keeps. */
  readonly pruned: boolean;
}

export async function listRevisions(store: Store): Promise<RevisionList> {
  const revisions: RevisionRow[] = [];
  let later: Revision | null = null;
  for await (const revision of eachRevision(store)) {
    if (later !== null) revisions.push(toRow(later, revision.entries));
    later = revision;
  }
  if (later === null) return { revisions, pruned: false };
  const pruned = later.parent !== null;
  return { revisions: [...revisions, toRow(later, pruned ? null : [])], pruned };
}

/** Yields the revisions, newest first, a page at a time: a state may be large. */
export async function* eachRevision(store: Store): AsyncGenerator<Revision> {
  let before: number | undefined;
  for (;;) {
    const page = await store.listRevisions({ limit: 100, ...(before === undefined ? {} : { before }) });
    yield* page;
    const last = page.at(-1);
    if (last === undefined || page.length < 100) return;
    before = last.number;
  }
}

function toRow(revision: Revision, before: readonly RevisionEntry[] | null): RevisionRow {
  const { number, time, author, node, reason, source, restores } = revision;
  return {
    number,
    time,
    author,
    node,
    commit: source.commit,
    dirty: source.dirty,
    reason,
    subject: source.subject,
    restores: restores ?? null,
    changes: before === null ? null : countChanges(revision.entries, before),
  };
}

function countChanges(after: readonly RevisionEntry[], before: readonly RevisionEntry[]): RevisionRow["changes"] {
  const diff = diffKeyed(byKey(after), byKey(before), (a, b) => a.digest === b.digest);
  return { create: diff.missing.length, update: diff.changed.length, delete: diff.extra.length };
}

function byKey(entries: readonly RevisionEntry[]): ReadonlyMap<string, RevisionEntry> {
  return new Map(entries.map((entry) => [refKey(entry), entry]));
}
