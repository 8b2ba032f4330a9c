/**
 * Chunked map: a map made of chunks; if two have a key in common, they agree on its value, and it counts twice. An
 * unchanged chunk is the same object in the next map, so that two maps are compared by their differing chunks. Pure.
 */
type Chunk<K, V> = ReadonlyMap<K, V>;

export class ChunkedMap<K, V> implements ReadonlyMap<K, V> {
  readonly size: number;

  constructor(readonly chunks: readonly Chunk<K, V>[]) {
    this.size = chunks.reduce((sum, part) => sum + part.size, 0);
  }

  get(key: K): V | undefined {
    return findChunk(this.chunks, key)?.get(key);
  }

  has(key: K): boolean {
    return findChunk(this.chunks, key) !== undefined;
  }

  *entries(): MapIterator<[K, V]> {
    for (const part of this.chunks) yield* part;
  }

  *keys(): MapIterator<K> {
    for (const part of this.chunks) yield* part.keys();
  }

  *values(): MapIterator<V> {
    for (const part of this.chunks) yield* part.values();
  }

  [Symbol.iterator](): MapIterator<[K, V]> {
    return this.entries();
  }

  forEach(act: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this) act(value, key, this);
  }
}

/** Returns a chunked map with each chunk transformed by `make`. */
export function mapChunks<K, V, W>(
  map: ReadonlyMap<K, V>,
  make: (part: ReadonlyMap<K, V>) => ReadonlyMap<K, W>,
): ChunkedMap<K, W> {
  return new ChunkedMap(chunksOf(map).map(make));
}

/** The changes from one map to another: the keys to delete, and the entries to write. */
export interface Difference<K, V> {
  readonly gone: readonly K[];
  readonly changed: readonly (readonly [K, V])[];
}

export function differenceOf<K, V>(held: Chunk<K, V>, target: Chunk<K, V>): Difference<K, V> {
  const [before, after] = [new Set(chunksOf(held)), new Set(chunksOf(target))];
  const removed = merge(chunksOf(held).filter((part) => !after.has(part)));
  const added = merge(chunksOf(target).filter((part) => !before.has(part)));
  const gone: K[] = [];
  const changed: (readonly [K, V])[] = [];
  for (const key of removed.keys()) if (!added.has(key)) gone.push(key);
  for (const entry of added) if (removed.get(entry[0]) !== entry[1]) changed.push(entry);
  return { gone, changed };
}

function merge<K, V>(parts: readonly Chunk<K, V>[]): Chunk<K, V> {
  const [only, ...others] = parts;
  return only !== undefined && others.length === 0 ? only : new Map(parts.flatMap((part) => [...part]));
}

function isChunked<K, V>(map: Chunk<K, V>): map is ChunkedMap<K, V> {
  return map instanceof ChunkedMap;
}

export function chunksOf<K, V>(map: Chunk<K, V>): readonly Chunk<K, V>[] {
  return isChunked(map) ? map.chunks : [map];
}

function findChunk<K, V>(parts: readonly Chunk<K, V>[], key: K): Chunk<K, V> | undefined {
  for (const part of parts) if (part.has(key)) return part;
  return undefined;
}
