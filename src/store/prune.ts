/**
 * Prune: removes old revisions, and objects that no revision refers to any more. The remaining revisions have no gap up
 * to head. Reading the references of the kept revisions can take long in a large store; it happens before the write,
 * revision by revision (revisions never change), so that neither writers nor this process's event loop wait for it.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Revision } from "../model/state.js";
import { isCount } from "../model/guards.js";
import { keys, prefixes } from "./keys.js";
import { decode, decodeRevision } from "./records.js";
import type { KeyValueStore, KeyValueReader } from "./key-value.js";

export interface PruneBounds {
  /** The number of newest revisions to keep. */
  readonly revisions: number;
  /** RFC 3339, UTC: revisions since then are kept. */
  readonly newerThan: string;
}

export interface Pruned {
  readonly revisions: number;
  readonly objects: number;
}

export async function pruneTable(table: Pick<KeyValueStore, "read" | "write">, keep: PruneBounds): Promise<Pruned> {
  const range = await table.read(rangeOf);
  if (range === null) return { revisions: 0, objects: 0 };
  const { oldest, head } = range;
  const lastAllowed = Math.min(head - keep.revisions, head - 1);
  const orphans = new Set<string>();
  let end = oldest;
  for (; end <= lastAllowed; end += 1) {
    const revision = await table.read((reader) => revisionAt(reader, end));
    if (revision !== null && revision.time >= keep.newerThan) break;
    for (const entry of revision?.entries ?? []) orphans.add(entry.digest);
    await nextTurn();
  }
  for (let number = end; number <= head && orphans.size > 0; number += 1) {
    spare(orphans, await table.read((reader) => revisionAt(reader, number)));
    await nextTurn();
  }
  if (end === oldest) return { revisions: 0, objects: 0 };
  return table.write((writer) => {
    // Revisions committed since may refer to an object again.
    for (let number = head + 1; number <= (headOf(writer) ?? 0); number += 1)
      spare(orphans, revisionAt(writer, number));
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

function headOf(reader: KeyValueReader): number | null {
  const text = reader.get(keys.head);
  return text === undefined ? null : decode(text, isCount, keys.head);
}

function rangeOf(reader: KeyValueReader): { readonly oldest: number; readonly head: number } | null {
  const head = headOf(reader);
  if (head === null) return null;
  for (const [key] of reader.entries(prefixes.revisions))
    return { oldest: Number(key.slice(prefixes.revisions.length)), head };
  return null;
}

function revisionAt(reader: KeyValueReader, number: number): Revision | null {
  const key = keys.revision(number);
  const record = reader.get(key);
  return record === undefined ? null : decodeRevision(record, key);
}

function numbersFrom(first: number, end: number): readonly number[] {
  return Array.from({ length: end - first }, (_, index) => first + index);
}
