/**
 * Prune: removes old revisions, and objects that no revision refers to any more. The remaining revisions have no gap up
 * to head. Reading the references of the kept revisions can take long in a large store; it happens before the write,
 * revision by revision (revisions never change), so that neither writers nor this process's event loop wait for it.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { PruneBounds, Pruned } from "../../interfaces/store.js";
import type { Revision } from "../../model/state.js";
import { keys, prefixes } from "../keys.js";
import type { KeyValueStore, KeyValueReader } from "./key-value.js";
import { headOf, revisionOf, rolloutOfHead } from "./lookup.js";
import { oldestOf } from "../rollout.js";

export async function pruneRevisions(table: Pick<KeyValueStore, "read" | "write">, keep: PruneBounds): Promise<Pruned> {
  const range = await table.read(rangeOf);
  if (range === null) return { revisions: 0, objects: 0 };
  const { oldest, head, needed } = range;
  const lastAllowed = Math.min(head - keep.revisions, needed - 1);
  const orphans = new Set<string>();
  let end = oldest;
  for (; end <= lastAllowed; end += 1) {
    const revision = await table.read((reader) => revisionOf(reader, end));
    if (revision !== null && revision.time >= keep.newerThan) break;
    for (const entry of revision?.entries ?? []) orphans.add(entry.digest);
    await nextTurn();
  }
  for (let number = end; number <= head && orphans.size > 0; number += 1) {
    spare(orphans, await table.read((reader) => revisionOf(reader, number)));
    await nextTurn();
  }
  if (end === oldest) return { revisions: 0, objects: 0 };
  return table.write((writer) => {
    // Revisions committed since may refer to an object again.
    for (let number = head + 1; number <= (headOf(writer) ?? 0); number += 1)
      spare(orphans, revisionOf(writer, number));
    const gone = numbersFrom(oldest, end)
      .map(keys.revision)
      .filter((key) => writer.get(key) !== undefined);
    const unnamed = [...orphans].map(keys.object).filter((key) => writer.get(key) !== undefined);
    for (const key of [...gone, ...unnamed]) writer.remove(key);
    return { revisions: gone.length, objects: unnamed.length };
  });
}

function spare(orphans: Set<string>, revision: Revision | null): void {
  for (const entry of revision?.entries ?? []) orphans.delete(entry.digest);
}

interface Range {
  readonly oldest: number;
  readonly head: number;
  /** The oldest revision that a node may have to enforce. */
  readonly needed: number;
}

function rangeOf(reader: KeyValueReader): Range | null {
  const head = headOf(reader);
  if (head === null) return null;
  for (const [key] of reader.entries(prefixes.revisions))
    return {
      oldest: Number(key.slice(prefixes.revisions.length)),
      head,
      needed: Math.min(head, oldestOf(rolloutOfHead(reader)) ?? head),
    };
  return null;
}

function numbersFrom(first: number, end: number): readonly number[] {
  return Array.from({ length: end - first }, (_, index) => first + index);
}
