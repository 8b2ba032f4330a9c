/**
 * Compares two keyed sets by an equality. Serves the plan (objects), the history (revisions) and the enforcers (items).
 * The differences come in the order of the keys.
 */
import type { KeyedDiff } from "../model/keyed-diff.js";

export function diffKeyed<T>(
  wanted: ReadonlyMap<string, T>,
  actual: ReadonlyMap<string, T>,
  equal: (wanted: T, actual: T) => boolean,
): KeyedDiff<T> {
  const missing: { key: string; wanted: T }[] = [];
  const changed: { key: string; wanted: T; actual: T }[] = [];
  for (const [key, value] of wanted) {
    const other = actual.get(key);
    if (other === undefined) missing.push({ key, wanted: value });
    else if (!equal(value, other)) changed.push({ key, wanted: value, actual: other });
  }
  const extra: { key: string; actual: T }[] = [];
  for (const [key, value] of actual) {
    if (!wanted.has(key)) extra.push({ key, actual: value });
  }
  const byKey = (a: { readonly key: string }, b: { readonly key: string }) =>
    a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
  return { missing: missing.sort(byKey), extra: extra.sort(byKey), changed: changed.sort(byKey) };
}

export function isEmptyDiff(diff: KeyedDiff<unknown>): boolean {
  return diff.missing.length === 0 && diff.extra.length === 0 && diff.changed.length === 0;
}
