/**
 * Next revision: the revision that a draft becomes on top of head. Pure; every adapter uses it, so that numbers and
 * versions are decided in one place. The adapters commit it (store/local/history.ts, adapters/etcd/commit.ts).
 */
import { canonicalJson, digestOfText } from "../model/digest.js";
import { refKey, refOf, type Revision, type RevisionEntry, type SourceRef, type StateObject } from "../model/state.js";
import { recordLine } from "../model/printable.js";
import { StoreError, type RevisionDraft } from "../interfaces/store.js";

/** The objects of a draft as text, by digest: they must be in the store before the revision. */
export type StagedObjects = ReadonlyMap<string, string>;

export interface NextRevision {
  readonly revision: Revision;
  /** The policies whose version rises, with their new version. */
  readonly raised: readonly { readonly namespace: string; readonly name: string; readonly version: number }[];
}

/**
 * Returns the objects as text.
 * @throws StoreError `object-damaged` if an object does not match its digest or name; a store could never return it
 */
export function stageObjects(objects: readonly StateObject[]): StagedObjects {
  const texts = new Map<string, string>();
  const names = new Set<string>();
  for (const { ref, digest, object } of objects) {
    const name = refKey(ref);
    const text = canonicalJson(object);
    if (digestOfText(text) !== digest || refKey(refOf(object)) !== name) {
      throw new StoreError("object-damaged", `${name} does not match its digest and name; nothing was committed`);
    }
    if (names.has(name)) throw new StoreError("object-damaged", `${name} is twice in one state; nothing was committed`);
    names.add(name);
    texts.set(digest, text);
  }
  return texts;
}

/** Returns the number of a draft on top of `head`. */
export function numberAfter(head: number | null): number {
  return head === null ? 1 : head + 1;
}

/**
 * Returns the next revision.
 * @param lastVersion the last version ever used for a policy, 0 for none; called only for policies that are new or have
 * changed
 */
export function nextRevision(
  draft: RevisionDraft,
  head: Revision | null,
  lastVersion: (namespace: string, name: string) => number,
): NextRevision {
  const before = new Map(
    head?.entries.filter((entry) => entry.kind === "NetworkPolicy").map((entry) => [refKey(entry), entry]),
  );
  const raised: { namespace: string; name: string; version: number }[] = [];
  const entries = draft.objects
    .map((object): readonly [string, RevisionEntry] => {
      const entry = entryOf(object);
      const key = refKey(object.ref);
      if (entry.kind !== "NetworkPolicy" || entry.namespace === null) return [key, entry];
      const old = before.get(key);
      if (old !== undefined && old.digest === entry.digest) {
        return [key, { ...entry, version: old.version, updatedAt: old.updatedAt, sourceNode: old.sourceNode }];
      }
      const version = lastVersion(entry.namespace, entry.name) + 1;
      raised.push({ namespace: entry.namespace, name: entry.name, version });
      return [key, { ...entry, version, updatedAt: draft.time, sourceNode: draft.node }];
    })
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, entry]) => entry);
  const { commitId, time, node, restores } = draft;
  const [author, reason] = [recordLine(draft.author), recordLine(draft.reason)];
  const source = tidySource(draft.source);
  const number = numberAfter(head?.number ?? null);
  const parent = head?.number ?? null;
  const origin = restores === undefined ? {} : { restores };
  return { revision: { number, parent, commitId, source, time, node, author, reason, ...origin, entries }, raised };
}

/** Commits and messages of others come in here. */
function tidySource({ author, subject, ...source }: SourceRef): SourceRef {
  const line = (text: string | null): string | null => (text === null ? null : recordLine(text));
  return { ...source, location: recordLine(source.location), author: line(author), subject: line(subject) };
}

function entryOf({ ref, digest, position }: StateObject): RevisionEntry {
  const entry = { kind: ref.kind, namespace: ref.namespace, name: ref.name, digest };
  return position === undefined ? entry : { ...entry, position };
}
