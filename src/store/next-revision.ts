/**
 * Lineage: what revision a draft becomes on top of the head. Pure; every adapter uses it, so that
 * numbers and versions are decided in one place.
 */
import { canonicalJson, digestOfText } from "../model/digest.js";
import { refKey, refOf, type Revision, type RevisionEntry, type StateObject } from "../model/state.js";
import { StoreError, type RevisionDraft } from "../interfaces/store.js";

/** The objects of a draft as text, by digest: what has to stand in the store before its revision may. */
export type StagedObjects = ReadonlyMap<string, string>;

export interface NextRevision {
  readonly revision: Revision;
  /** The policies whose version rises, with the version that is now their last. */
  readonly raised: readonly { readonly namespace: string; readonly name: string; readonly version: number }[];
}

/**
 * @throws StoreError `object-damaged` where an object is not what its digest or its name says; a
 * store that took it could never give it back
 */
export function stageObjects(objects: readonly StateObject[]): StagedObjects {
  const texts = new Map<string, string>();
  const names = new Set<string>();
  for (const { ref, digest, object } of objects) {
    const name = refKey(ref);
    const text = canonicalJson(object);
    if (digestOfText(text) !== digest || refKey(refOf(object)) !== name) {
      throw new StoreError(
        "object-damaged",
        `${name} is not the object that its digest and name say; nothing was committed`,
      );
    }
    if (names.has(name))
      throw new StoreError("object-damaged", `${name} stands twice in one state; nothing was committed`);
    names.add(name);
    texts.set(digest, text);
  }
  return texts;
}

/** The number that a draft planned against `head` gets, if it gets one. */
export function numberAfter(head: number | null): number {
  return head === null ? 1 : head + 1;
}

/**
 * @param lastVersion the last version ever used for a policy, 0 for none; asked only for policies
 * that are new or have changed
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
  const { commitId, source, time, node, author, reason } = draft;
  const number = numberAfter(head?.number ?? null);
  return {
    revision: { number, parent: head?.number ?? null, commitId, source, time, node, author, reason, entries },
    raised,
  };
}

function entryOf({ ref, digest, position }: StateObject): RevisionEntry {
  const entry = { kind: ref.kind, namespace: ref.namespace, name: ref.name, digest };
  return position === undefined ? entry : { ...entry, position };
}
