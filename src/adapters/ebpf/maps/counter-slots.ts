/**
 * Counter slots: assigns an entry of a per-CPU array to each rule or workload. The assignment is in a pinned map, so
 * that a count continues under another ruleset and another agent.
 */
import { COUNTER_SLOT } from "../kernel/abi.generated.js";
import { kernel, type Native } from "../kernel/native.js";
import { chunksOf } from "../lower/chunked-map.js";

const ID_BYTES = 4;
const WORD = 8;

export interface CounterSlotMaps {
  /** Descriptors of the maps: id → slot, and slot → numbers. */
  readonly slots: number;
  readonly counts: number;
  /** Bytes of the numbers of one slot. */
  readonly size: number;
  /** Number of slots; slot 0 is reserved. */
  readonly room: number;
}

interface AssignedSlot {
  readonly identity: bigint;
  readonly slot: number;
}

export class CounterSlots {
  readonly #native: Native;
  readonly #maps: CounterSlotMaps;
  /** The assignment as last read and written: only this process writes it, and the next read shows errors. */
  #known: Map<number, AssignedSlot> | null = null;
  /** Chunks of rulesets whose ids all have slots in `#known`: most chunks occur in one ruleset after another. */
  #slotted = new WeakSet<ReadonlyMap<number, bigint>>();

  constructor(native: Native, maps: CounterSlotMaps) {
    this.#native = native;
    this.#maps = maps;
  }

  held(): ReadonlyMap<number, AssignedSlot> {
    return this.#read();
  }

  #read(): Map<number, AssignedSlot> {
    const { count, keys, values } = kernel("Reading the slots of counters", () =>
      this.#native.mapRead(this.#maps.slots),
    );
    const held = new Map<number, AssignedSlot>();
    this.#known = held;
    this.#slotted = new WeakSet();
    for (let at = 0; at < count; at++) {
      held.set(keys.readUInt32LE(at * ID_BYTES), {
        identity: values.readBigUInt64LE(at * COUNTER_SLOT.size + COUNTER_SLOT.identity),
        slot: values.readUInt32LE(at * COUNTER_SLOT.size + COUNTER_SLOT.slot),
      });
    }
    return held;
  }

  /**
   * Assigns a zeroed slot to each id that has none, or has one that belonged to another identity. If no slot is free,
   * the id gets none.
   */
  assign(wanted: ReadonlyMap<number, bigint>): void {
    const held = this.#known ?? this.#read();
    const missing: (readonly [id: number, identity: bigint])[] = [];
    for (const part of chunksOf(wanted)) {
      if (this.#slotted.has(part)) continue;
      const before = missing.length;
      for (const one of part) if (held.get(one[0])?.identity !== one[1]) missing.push(one);
      if (missing.length === before) this.#slotted.add(part);
    }
    if (missing.length === 0) return;
    const taken = new Set([...held.values()].map(({ slot }) => slot));
    const free: number[] = [];
    for (let slot = 1; slot < this.#maps.room && free.length < missing.length; slot++)
      if (!taken.has(slot)) free.push(slot);
    const given = free.flatMap((slot, at) => {
      const one = missing[at];
      return one === undefined ? [] : [{ id: one[0], identity: one[1], slot }];
    });
    if (given.length === 0) return;
    const keys = Buffer.alloc(given.length * ID_BYTES);
    const values = Buffer.alloc(given.length * COUNTER_SLOT.size);
    given.forEach(({ id, identity, slot }, at) => {
      keys.writeUInt32LE(id, at * ID_BYTES);
      values.writeBigUInt64LE(identity, at * COUNTER_SLOT.size + COUNTER_SLOT.identity);
      values.writeUInt32LE(slot, at * COUNTER_SLOT.size + COUNTER_SLOT.slot);
    });
    this.#known = null;
    kernel("Making counters", () => {
      const zeros = Buffer.alloc(given.length * this.#maps.size);
      this.#native.mapWrite(this.#maps.counts, keysOf(given.map(({ slot }) => slot)), zeros);
      this.#native.mapWrite(this.#maps.slots, keys, values);
    });
    for (const { id, identity, slot } of given) held.set(id, { identity, slot });
    this.#known = held;
  }

  /** Releases slots; only when no program can count there any more. */
  release(ids: readonly number[]): void {
    if (ids.length === 0) return;
    this.#known = null;
    kernel("Clearing the slots of counters", () => this.#native.mapDelete(this.#maps.slots, keysOf(ids)));
  }

  /** Returns the 64-bit numbers of each slot, summed over the CPUs. */
  read(slots: readonly number[]): ReadonlyMap<number, readonly bigint[]> {
    const own = [...new Set(slots)];
    const words = sumEntries(this.#native, this.#maps.counts, own, this.#maps.size);
    return new Map(own.map((slot, at) => [slot, words[at] ?? []]));
  }
}

/** Returns entries of a per-CPU array by index: the 64-bit words of each value, summed over the CPUs. */
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
