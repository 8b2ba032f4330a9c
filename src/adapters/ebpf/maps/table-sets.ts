/**
 * Table sets: reads and writes the two table sets and the epoch that selects the one in force.
 *
 * Guarantees: the set in force is never written; entries are compared before they are written, so that a change costs
 * only the difference; nothing is written before every program that could read it has ended. A shadow, by which programs read the other set
 * as well, ends before anything is written there.
 */
import { ADDR_KEY, CONTROL, IDENTITY_KEY, PORT_KEY } from "../kernel/abi.generated.js";
import type { MapEntries, RulesetMaps } from "../lower/image.js";
import { differenceOf } from "../lower/chunked-map.js";
import { asEnforcerError, kernel, type LoadedObject, type MapContents, type Native } from "../kernel/native.js";

/** One of the two sets: the low bit of the epoch. */
export type SetIndex = 0 | 1;

const KEYS = { addrs: ADDR_KEY.size, ports: PORT_KEY.size, identities: IDENTITY_KEY.size } as const;
type Name = keyof typeof KEYS;
const NAMES = ["addrs", "ports", "identities"] as const;
const SUFFIX = ["a", "b"] as const;
const VALUE_SIZE = 4;

interface Known {
  readonly table: MapEntries;
  /** The bytes of the last read; equal bytes mean an equal table. Null: written since. */
  readonly raw: MapContents | null;
}

export class TableSets {
  readonly #native: Native;
  readonly #maps: LoadedObject["maps"];
  /** The known content of each map: read, or read and then written by this process. */
  readonly #known = new Map<string, Known>();
  #settled: Promise<void>;
  #isSettled = false;
  /** The epoch under which the known content is valid: a switch by another process ends that. */
  #epoch: bigint | null = null;

  constructor(native: Native, maps: LoadedObject["maps"]) {
    this.#native = native;
    this.#maps = maps;
    // A previous agent may have switched just now.
    this.#settled = this.#grace();
  }

  epoch(): bigint {
    return kernel("Reading the epoch", () => this.#native.wordLoad(this.#fd("ztap_control"), CONTROL.epoch));
  }

  active(): SetIndex {
    return (this.epoch() & 1n) === 0n ? 0 : 1;
  }

  /** Returns the content of the set in the kernel, read now. */
  read(set: SetIndex): RulesetMaps {
    return {
      addrs: this.#readTable("addrs", set),
      ports: this.#readTable("ports", set),
      identities: this.#readTable("identities", set),
    };
  }

  /** Reads again the parts of the set that are known, and corrects them. */
  verify(set: SetIndex): void {
    for (const name of NAMES) if (this.#known.has(mapName(name, set))) this.#readTable(name, set);
  }

  /**
   * Makes the idle set equal to the target.
   * @returns the set that was prepared
   */
  async prepare(target: RulesetMaps): Promise<SetIndex> {
    this.endShadow();
    await this.#settled;
    const epoch = this.epoch();
    if (epoch !== this.#epoch) this.#known.clear();
    this.#epoch = epoch;
    const idle = (epoch & 1n) === 0n ? 1 : 0;
    // The order does not matter: no program reads this set now.
    for (const name of NAMES) this.#writeTable(name, idle, target[name]);
    return idle;
  }

  /** Puts the prepared set in force, with one store. */
  switch(prepared: SetIndex): void {
    const epoch = this.epoch();
    if (Number(epoch & 1n) === prepared) throw new TypeError("the prepared set is already in force");
    // Adds to what is there: the end of an override adds to it as well.
    this.#epoch = kernel("Switching the table set", () =>
      this.#native.wordIncrement(this.#fd("ztap_control"), CONTROL.epoch),
    );
    this.#writeShadow(0n);
    this.#settled = this.#grace();
  }

  /** From now on programs evaluate by the prepared set as well, until `endShadow`, `prepare` or `switch`. */
  beginShadow(prepared: SetIndex): void {
    const epoch = this.epoch();
    if (Number(epoch & 1n) === prepared) throw new TypeError("the prepared set is in force");
    this.#writeShadow(epoch);
  }

  /** Whether programs evaluate by the set that is not in force. */
  isShadowed(): boolean {
    return this.#readShadow() === this.epoch();
  }

  endShadow(): void {
    // Also one that the kernel has ended, by the end of an override: a program may still evaluate by it.
    if (this.#readShadow() === 0n) return;
    this.#writeShadow(0n);
    this.#settled = this.#grace();
  }

  #readShadow(): bigint {
    return kernel("Reading the shadow", () => this.#native.wordLoad(this.#fd("ztap_control"), CONTROL.shadow));
  }

  #writeShadow(epoch: bigint): void {
    kernel("Setting the shadow", () => this.#native.wordStore(this.#fd("ztap_control"), CONTROL.shadow, epoch));
  }

  /** Resolves when no program reads the idle set any more. */
  settled(): Promise<void> {
    return this.#settled;
  }

  /** Whether that is known already. */
  get isSettled(): boolean {
    return this.#isSettled;
  }

  #grace(): Promise<void> {
    this.#isSettled = false;
    const ended = this.#native.gracePeriod().catch((error: unknown) => {
      throw asEnforcerError("Waiting for running programs to end", error);
    });
    // Waiting callers get the failure; without any, it is not an unhandled rejection.
    ended.then(
      () => (this.#isSettled = this.#settled === ended),
      () => undefined,
    );
    return ended;
  }

  #fd(name: string): number {
    const fd = this.#maps[name];
    if (fd === undefined) throw new TypeError(`no map ${name}`);
    return fd;
  }

  #readTable(name: Name, set: SetIndex): MapEntries {
    const map = mapName(name, set);
    const raw = kernel(`Reading ${map}`, () => this.#native.mapRead(this.#fd(map)));
    const known = this.#known.get(map);
    if (
      known !== undefined &&
      known.raw !== null &&
      known.raw.keys.equals(raw.keys) &&
      known.raw.values.equals(raw.values)
    )
      return known.table;
    const read = parseTable(raw, KEYS[name]);
    // The written table is kept if the read one is equal: the next image shares most of its chunks.
    const table = known !== undefined && isSame(known.table, read) ? known.table : read;
    this.#known.set(map, { table, raw });
    return table;
  }

  #writeTable(name: Name, set: SetIndex, target: MapEntries): void {
    const map = mapName(name, set);
    const fd = this.#fd(map);
    const held = this.#known.get(map)?.table ?? this.#readTable(name, set);
    if (held === target) return;
    const { gone, changed } = differenceOf(held, target);
    if (gone.length === 0 && changed.length === 0) return;
    // Until both writes have succeeded, the content of the map is not known.
    this.#known.delete(map);
    kernel(`Writing ${map}`, () => {
      if (gone.length > 0) this.#native.mapDelete(fd, Buffer.from(gone.join(""), "hex"));
      if (changed.length > 0) this.#native.mapWrite(fd, keysOf(changed, KEYS[name]), valuesOf(changed));
    });
    this.#known.set(map, { table: target, raw: null });
  }
}

function isSame(known: MapEntries, read: MapEntries): boolean {
  if (known.size !== read.size) return false;
  for (const [key, value] of known) if (read.get(key) !== value) return false;
  return true;
}

function mapName(name: Name, set: SetIndex): string {
  return `ztap_${name}_${SUFFIX[set]}`;
}

function parseTable(raw: MapContents, keySize: number): MapEntries {
  const table = new Map<string, number>();
  const digits = raw.keys.toString("hex");
  for (let at = 0; at < raw.count; at++) {
    table.set(digits.slice(at * keySize * 2, (at + 1) * keySize * 2), raw.values.readUInt32LE(at * VALUE_SIZE));
  }
  return table;
}

function keysOf(entries: readonly (readonly [key: string, value: number])[], keySize: number): Buffer {
  const keys = Buffer.allocUnsafe(entries.length * keySize);
  entries.forEach(([key], at) => keys.write(key, at * keySize, "hex"));
  return keys;
}

function valuesOf(entries: readonly (readonly [key: string, value: number])[]): Buffer {
  const values = Buffer.allocUnsafe(entries.length * VALUE_SIZE);
  entries.forEach(([, value], at) => values.writeUInt32LE(value, at * VALUE_SIZE));
  return values;
}
