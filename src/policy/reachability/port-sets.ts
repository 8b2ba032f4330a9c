/**
 * Sets of protocols and ports, interned: equal sets have equal numbers. Millions of pairs of workloads are evaluated by
 * comparing and combining small integers, and each combination of two sets is computed once.
 */
import type { Connection, PortInterval } from "../../model/connection.js";
import { CONNECTION_PROTOCOLS } from "../../model/connection.js";
import type { Clause } from "../../model/ruleset.js";

/** Number of an interned set; valid only for the `PortSets` that issued it. */
export type PortSetId = number;

/** A connection without its ends. */
export type PortEntry = Pick<Connection, "protocol" | "ports">;

/** The intervals of each of CONNECTION_PROTOCOLS: ascending, disjoint, never adjacent. */
type Intervals = readonly (readonly PortInterval[])[];

const EVERY_PORT: readonly PortInterval[] = [[0, 65535]];
const NONE: Intervals = CONNECTION_PROTOCOLS.map(() => []);
const ALL: Intervals = CONNECTION_PROTOCOLS.map(() => EVERY_PORT);

/**
 * The state has so many different combinations of ports that comparing them all would exhaust the machine's memory.
 * These sets are used only for reports; on overflow the report is skipped.
 */
export class TooManyPortSets extends Error {
  override readonly name = "TooManyPortSets";
  readonly code = "too-complex";
  constructor() {
    super("the policies combine their ports in too many different ways");
  }
}

/**
 * Largest number of intervals that are processed in all: some seconds of work, and some hundred megabytes at the worst.
 */
const MAX_WORK = 8_000_000;

export class PortSets {
  /** The set of nothing, and the set of every protocol and port. */
  readonly empty: PortSetId = 0;
  readonly all: PortSetId = 1;
  readonly #sets: Intervals[] = [];
  #work = 0;
  readonly #ids = new Map<string, PortSetId>();
  /** Ids by the text of a clause's ports, since many clauses have the same. */
  readonly #texts = new Map<string, PortSetId>();
  readonly #entries = new Map<PortSetId, readonly PortEntry[]>();
  readonly #unions = new PairMemo();
  readonly #intersections = new PairMemo();
  readonly #differences = new PairMemo();

  constructor() {
    this.#intern(NONE);
    this.#intern(ALL);
  }

  /** Returns the set of a clause's ports. */
  of(ports: Clause["ports"]): PortSetId {
    if (ports === "any") return this.all;
    const text = ports.map(({ protocol, first, last }) => `${protocol}${first}-${last}`).join();
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    const sets = CONNECTION_PROTOCOLS.map((protocol) => merge(ports.filter((range) => range.protocol === protocol)));
    const id = this.#intern(sets);
    this.#texts.set(text, id);
    return id;
  }

  union(a: PortSetId, b: PortSetId): PortSetId {
    if (a === b || b === this.empty) return a;
    if (a === this.empty) return b;
    return (
      this.#unions.get(a, b) ??
      this.#unions.set(
        a,
        b,
        this.#combine(a, b, (inA, inB) => inA || inB),
      )
    );
  }

  intersect(a: PortSetId, b: PortSetId): PortSetId {
    if (a === b || b === this.all) return a;
    if (a === this.all) return b;
    return (
      this.#intersections.get(a, b) ??
      this.#intersections.set(
        a,
        b,
        this.#combine(a, b, (inA, inB) => inA && inB),
      )
    );
  }

  /** Returns the ports of `a` that are not in `b`. */
  subtract(a: PortSetId, b: PortSetId): PortSetId {
    if (a === b) return this.empty;
    if (b === this.empty) return a;
    return (
      this.#differences.get(a, b) ??
      this.#differences.set(
        a,
        b,
        this.#combine(a, b, (inA, inB) => inA && !inB),
      )
    );
  }

  /** Returns the part of a set that belongs to one protocol; `*`: all of it. */
  within(id: PortSetId, protocol: Connection["protocol"]): PortSetId {
    return protocol === "*" ? id : this.intersect(id, this.ofEntry({ protocol, ports: EVERY_PORT }));
  }

  /** Returns the set of an entry. */
  ofEntry({ protocol, ports }: PortEntry): PortSetId {
    return this.#intern(CONNECTION_PROTOCOLS.map((one) => (protocol === "*" || one === protocol ? ports : [])));
  }

  /** Returns one entry per protocol, or the one for `*`; none for the empty set. */
  entries(id: PortSetId): readonly PortEntry[] {
    const known = this.#entries.get(id);
    if (known !== undefined) return known;
    const entries =
      id === this.all
        ? [{ protocol: "*" as const, ports: EVERY_PORT }]
        : CONNECTION_PROTOCOLS.map((protocol, index) => ({ protocol, ports: this.#set(id)[index] ?? [] })).filter(
            ({ ports }) => ports.length > 0,
          );
    this.#entries.set(id, entries);
    return entries;
  }

  #combine(a: PortSetId, b: PortSetId, keep: (inA: boolean, inB: boolean) => boolean): PortSetId {
    const [left, right] = [this.#set(a), this.#set(b)];
    for (const intervals of [...left, ...right]) this.#work += intervals.length + 1;
    if (this.#work > MAX_WORK) throw new TooManyPortSets();
    return this.#intern(CONNECTION_PROTOCOLS.map((_, index) => combine(left[index] ?? [], right[index] ?? [], keep)));
  }

  #set(id: PortSetId): Intervals {
    const set = this.#sets[id];
    if (set === undefined) throw new RangeError(`no such set of ports: ${id}`);
    return set;
  }

  #intern(set: Intervals): PortSetId {
    const key = JSON.stringify(set);
    const known = this.#ids.get(key);
    if (known !== undefined) return known;
    const id = this.#sets.push(set) - 1;
    this.#ids.set(key, id);
    return id;
  }
}

/** Joins overlapping and adjacent ranges. */
function merge(ranges: readonly { readonly first: number; readonly last: number }[]): readonly PortInterval[] {
  const result: [number, number][] = [];
  for (const { first, last } of ranges.toSorted((a, b) => a.first - b.first)) {
    const previous = result.at(-1);
    if (previous !== undefined && first <= previous[1] + 1) previous[1] = Math.max(previous[1], last);
    else result.push([first, last]);
  }
  return result;
}

/** Walks the borders of both lists side by side; a range between two borders is in or out as a whole. */
function combine(
  a: readonly PortInterval[],
  b: readonly PortInterval[],
  keep: (inA: boolean, inB: boolean) => boolean,
): readonly PortInterval[] {
  const result: [number, number][] = [];
  const [left, right] = [new Sweep(a), new Sweep(b)];
  for (let first = 0; first <= LAST_PORT;) {
    const [inA, inB] = [left.covers(first), right.covers(first)];
    const last = Math.min(left.until(first), right.until(first));
    if (keep(inA, inB)) {
      const previous = result.at(-1);
      if (previous?.[1] === first - 1) previous[1] = last;
      else result.push([first, last]);
    }
    first = last + 1;
  }
  return result;
}

const LAST_PORT = 65535;

/** Walks along ascending intervals; the ports of the queries must ascend as well. */
class Sweep {
  #at = 0;
  constructor(private readonly intervals: readonly PortInterval[]) {}

  covers(port: number): boolean {
    while ((this.intervals[this.#at]?.[1] ?? LAST_PORT) < port) this.#at += 1;
    return (this.intervals[this.#at]?.[0] ?? LAST_PORT + 1) <= port;
  }

  /**
   * Returns the last port up to which `covers` has the same result as for `port`, which must be the last port queried.
   */
  until(port: number): number {
    const interval = this.intervals[this.#at];
    if (interval === undefined) return LAST_PORT;
    return interval[0] <= port ? interval[1] : interval[0] - 1;
  }
}

/** Results for pairs of numbers. Small numbers (nearly all are) go into a table that needs no hashing. */
class PairMemo {
  static readonly #SIDE = 256;
  readonly #small = new Int32Array(PairMemo.#SIDE ** 2).fill(-1);
  readonly #large = new Map<number, number>();

  get(a: number, b: number): number | undefined {
    if (a >= PairMemo.#SIDE || b >= PairMemo.#SIDE) return this.#large.get(a * 2 ** 26 + b);
    const found = this.#small[a * PairMemo.#SIDE + b];
    return found === -1 ? undefined : found;
  }

  set(a: number, b: number, result: number): number {
    if (a < PairMemo.#SIDE && b < PairMemo.#SIDE) this.#small[a * PairMemo.#SIDE + b] = result;
    else this.#large.set(a * 2 ** 26 + b, result);
    return result;
  }
}
