/**
 * Sets of protocols and ports, interned: equal sets have equal numbers, so that millions of pairs of
 * workloads are judged by comparing and combining small integers, and each combination of two sets
 * is computed once.
 */
import type { Connection, PortInterval } from "../model/connection.js";
import { CONNECTION_PROTOCOLS } from "../model/connection.js";
import type { Clause } from "../model/ruleset.js";

/** Number of an interned set; only of use to the `PortSets` that gave it. */
export type PortSetId = number;

/** What a connection says apart from its ends. */
export type PortEntry = Pick<Connection, "protocol" | "ports">;

/** For each of CONNECTION_PROTOCOLS its intervals: ascending, disjoint, never adjacent. */
type Intervals = readonly (readonly PortInterval[])[];

const EVERY_PORT: readonly PortInterval[] = [[0, 65535]];
const NONE: Intervals = CONNECTION_PROTOCOLS.map(() => []);
const ALL: Intervals = CONNECTION_PROTOCOLS.map(() => EVERY_PORT);

export class PortSets {
  /** The set of nothing, and the set of every protocol and port. */
  readonly empty: PortSetId = 0;
  readonly all: PortSetId = 1;
  readonly #sets: Intervals[] = [];
  readonly #ids = new Map<string, PortSetId>();
  /** The same by what a clause says, which many clauses say. */
  readonly #texts = new Map<string, PortSetId>();
  readonly #entries = new Map<PortSetId, readonly PortEntry[]>();
  readonly #unions = new PairMemo();
  readonly #intersections = new PairMemo();
  readonly #differences = new PairMemo();

  constructor() {
    this.#intern(NONE);
    this.#intern(ALL);
  }

  /** The set that a clause's ports mean. */
  of(ports: Clause["ports"]): PortSetId {
    if (ports === "any") return this.all;
    const text = ports.map(({ protocol, first, last }) => `${protocol}${first}-${last}`).join();
    const known = this.#texts.get(text);
    if (known !== undefined) return known;
    const sets = CONNECTION_PROTOCOLS.map((protocol) =>
      ports
        .filter((range) => range.protocol === protocol)
        .map((range): Intervals[number] => [[range.first, range.last]])
        .reduce((sum, range) => combine(sum, range, (a, b) => a || b), []),
    );
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

  /** What is in `a` and not in `b`. */
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

  /** One entry a protocol, or the one of `*`; none for the empty set. */
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

/** Walks the borders of both lists; a stretch between two borders is in or out as a whole. */
function combine(
  a: readonly PortInterval[],
  b: readonly PortInterval[],
  keep: (inA: boolean, inB: boolean) => boolean,
): readonly PortInterval[] {
  const borders = [...new Set([...a, ...b].flatMap(([first, last]) => [first, last + 1]))].sort((x, y) => x - y);
  const result: [number, number][] = [];
  for (const [index, first] of borders.entries()) {
    const next = borders[index + 1];
    if (next === undefined || !keep(contains(a, first), contains(b, first))) continue;
    const previous = result.at(-1);
    if (previous?.[1] === first - 1) previous[1] = next - 1;
    else result.push([first, next - 1]);
  }
  return result;
}

const contains = (intervals: readonly PortInterval[], port: number): boolean =>
  intervals.some(([first, last]) => first <= port && port <= last);

/** Results for pairs of numbers. Small numbers, which nearly all are, go into a table that costs no hashing. */
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
