/**
 * Places: which entry of a per-CPU array counts for a rule or a workload. Which one it is stands in a pinned map, so
 * that a count goes on under another ruleset and another agent.
 */
import { COUNTER_PLACE } from "../kernel/abi.generated.js";
import { kernel, type Native } from "../kernel/native.js";
import { partsOf } from "../lower/chunked-map.js";

const ID_BYTES = 4;
const WORD = 8;

export interface PlacedCounts {
  /** Descriptors: id → place, and place → numbers. */
  readonly places: number;
  readonly counts: number;
  /** Bytes of the numbers of one place. */
  readonly size: number;
  /** Places that there are; 0 is nobody's. */
  readonly room: number;
}

interface Held {
  readonly identity: bigint;
  readonly place: number;
}

export class Places {
  readonly #native: Native;
  readonly #maps: PlacedCounts;
  /** As it was read last, and written since: this process alone writes it, and what is amiss shows when it is read again. */
  #known: Map<number, Held> | null = null;
  /** Parts of rulesets that were found to have all their places in what is known: most are in one after another. */
  #placed = new WeakSet<ReadonlyMap<number, bigint>>();

  constructor(native: Native, maps: PlacedCounts) {
    this.#native = native;
    this.#maps = maps;
  }

  held(): ReadonlyMap<number, Held> {
    return this.#read();
  }

  #read(): Map<number, Held> {
    const { count, keys, values } = kernel("Reading the places of counters", () =>
      this.#native.mapRead(this.#maps.places),
    );
    const held = new Map<number, Held>();
    this.#known = held;
    this.#placed = new WeakSet();
    for (let at = 0; at < count; at++) {
      held.set(keys.readUInt32LE(at * ID_BYTES), {
        identity: values.readBigUInt64LE(at * COUNTER_PLACE.size + COUNTER_PLACE.identity),
        place: values.readUInt32LE(at * COUNTER_PLACE.size + COUNTER_PLACE.place),
      });
    }
    return held;
  }

  /** Gives each of the ids a place that counts from zero, where it has none, or has one that was another's. Where none is free, it has none. */
  assign(wanted: ReadonlyMap<number, bigint>): void {
    const held = this.#known ?? this.#read();
    const missing: (readonly [id: number, identity: bigint])[] = [];
    for (const part of partsOf(wanted)) {
      if (this.#placed.has(part)) continue;
      const before = missing.length;
      for (const one of part) if (held.get(one[0])?.identity !== one[1]) missing.push(one);
      if (missing.length === before) this.#placed.add(part);
    }
    if (missing.length === 0) return;
    const taken = new Set([...held.values()].map(({ place }) => place));
    const free: number[] = [];
    for (let place = 1; place < this.#maps.room && free.length < missing.length; place++)
      if (!taken.has(place)) free.push(place);
    const given = free.flatMap((place, at) => {
      const one = missing[at];
      return one === undefined ? [] : [{ id: one[0], identity: one[1], place }];
    });
    if (given.length === 0) return;
    const keys = Buffer.alloc(given.length * ID_BYTES);
    const values = Buffer.alloc(given.length * COUNTER_PLACE.size);
    given.forEach(({ id, identity, place }, at) => {
      keys.writeUInt32LE(id, at * ID_BYTES);
      values.writeBigUInt64LE(identity, at * COUNTER_PLACE.size + COUNTER_PLACE.identity);
      values.writeUInt32LE(place, at * COUNTER_PLACE.size + COUNTER_PLACE.place);
    });
    this.#known = null;
    kernel("Making counters", () => {
      const zeros = Buffer.alloc(given.length * this.#maps.size);
      this.#native.mapWrite(this.#maps.counts, keysOf(given.map(({ place }) => place)), zeros);
      this.#native.mapWrite(this.#maps.places, keys, values);
    });
    for (const { id, identity, place } of given) held.set(id, { identity, place });
    this.#known = held;
  }

  /** Only where no program can count there any more. */
  release(ids: readonly number[]): void {
    if (ids.length === 0) return;
    this.#known = null;
    kernel("Clearing the places of counters", () => this.#native.mapDelete(this.#maps.places, keysOf(ids)));
  }

  /** The 64-bit numbers of each place, added up over the CPUs. */
  read(places: readonly number[]): ReadonlyMap<number, readonly bigint[]> {
    const own = [...new Set(places)];
    const words = sumEntries(this.#native, this.#maps.counts, own, this.#maps.size);
    return new Map(own.map((place, at) => [place, words[at] ?? []]));
  }
}

/** Entries of a per-CPU array by index: the 64-bit words of each value, added up over the CPUs. */
export function sumEntries(
  native: Native,
  fd: number,
  indexes: readonly number[],
  size: number,
): readonly (readonly bigint[])[] {
  if (indexes.length === 0) return [];
  const values = kernel("Reading counters", () => native.mapGetMany(fd, keysOf(indexes)));
  const room = values.length / indexes.length;
  return indexes.map((_index, at) =>
    Array.from({ length: size / WORD }, (_unused, word) => {
      let sum = 0n;
      for (let cpu = 0; cpu < room; cpu += size) sum += values.readBigUInt64LE(at * room + cpu + word * WORD);
      return sum;
    }),
  );
}

function keysOf(numbers: readonly number[]): Buffer {
  const keys = Buffer.alloc(numbers.length * ID_BYTES);
  numbers.forEach((number, at) => keys.writeUInt32LE(number, at * ID_BYTES));
  return keys;
}
