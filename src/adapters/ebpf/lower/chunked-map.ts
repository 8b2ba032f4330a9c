/**
 * Parted: a map made of parts; where two have a key in common, they agree on it, and it counts twice. A part that did
 * not change is the same object in the next map, so that two maps are compared by what differs. Pure.
 */
type Part<K, V> = ReadonlyMap<K, V>;

export class PartedMap<K, V> implements ReadonlyMap<K, V> {
  readonly size: number;

  constructor(readonly parts: readonly Part<K, V>[]) {
    this.size = parts.reduce((sum, part) => sum + part.size, 0);
  }

  get(key: K): V | undefined {
    return findPart(this.parts, key)?.get(key);
  }

  has(key: K): boolean {
    return findPart(this.parts, key) !== undefined;
  }

  *entries(): MapIterator<[K, V]> {
    for (const part of this.parts) yield* part;
  }

  *keys(): MapIterator<K> {
    for (const part of this.parts) yield* part.keys();
  }

  *values(): MapIterator<V> {
    for (const part of this.parts) yield* part.values();
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries();
  }

  forEach(act: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this) act(value, key, this);
  }
}

/** The same parts, each turned into another map by `make`. */
export function mapParts<K, V, W>(
  map: ReadonlyMap<K, V>,
  make: (part: ReadonlyMap<K, V>) => ReadonlyMap<K, W>,
): PartedMap<K, W> {
  return new PartedMap(partsOf(map).map(make));
}

/** What turns one map into another: the keys to be taken away, and the entries to be written. */
export interface Difference<K, V> {
  readonly gone: readonly K[];
  readonly changed: readonly (readonly [K, V])[];
}

export function differenceOf<K, V>(held: Part<K, V>, target: Part<K, V>): Difference<K, V> {
  const [before, after] = [new Set(partsOf(held)), new Set(partsOf(target))];
  const removed = merge(partsOf(held).filter((part) => !after.has(part)));
  const added = merge(partsOf(target).filter((part) => !before.has(part)));
  const gone: K[] = [];
  const changed: (readonly [K, V])[] = [];
  for (const key of removed.keys()) if (!added.has(key)) gone.push(key);
  for (const entry of added) if (removed.get(entry[0]) !== entry[1]) changed.push(entry);
  return { gone, changed };
}

function merge<K, V>(parts: readonly Part<K, V>[]): Part<K, V> {
  const [only, ...others] = parts;
  return only !== undefined && others.length === 0 ? only : new Map(parts.flatMap((part) => [...part]));
}

function isParted<K, V>(map: Part<K, V>): map is PartedMap<K, V> {
  return map instanceof PartedMap;
}

export function partsOf<K, V>(map: Part<K, V>): readonly Part<K, V>[] {
  return isParted(map) ? map.parts : [map];
}

function findPart<K, V>(parts: readonly Part<K, V>[], key: K): Part<K, V> | undefined {
  for (const part of parts) if (part.has(key)) return part;
  return undefined;
}
