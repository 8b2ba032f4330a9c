/**
 * The addresses of all workloads, in classes: two addresses are in one class if they are of one family and every list
 * of peers in the ruleset contains both or neither.
 */
import type { Clause, Ruleset, Subject } from "../../model/ruleset.js";
import type { AddressParser, Family, Interval } from "../address-space.js";
import { compareIntervals } from "../address-space.js";

export class WorkloadAddresses {
  /** Distinct, ascending; everything below refers to an address by its index here. */
  readonly #sorted: readonly Interval[];
  readonly #places = new Map<string, number>();
  readonly #classes: Uint32Array;
  readonly classCount: number;
  readonly #every: readonly number[];
  readonly #parser: AddressParser;
  /** Index of the first address in a CIDR, and of the first one behind it; by the CIDR's text, since CIDRs repeat. */
  readonly #ranges = new Map<string, readonly [number, number]>();
  readonly #lists = new Map<readonly string[], readonly number[]>();

  constructor(ruleset: Ruleset, parser: AddressParser) {
    this.#parser = parser;
    const texts = [...new Set(ruleset.subjects.flatMap(({ addresses }) => addresses))];
    const parsed = texts.map((text) => ({ text, interval: parser.parse(text) }));
    parsed.sort((a, b) => compareIntervals(a.interval, b.interval));
    parsed.forEach(({ text }, place) => this.#places.set(text, place));
    this.#sorted = parsed.map(({ interval }) => interval);
    const lists = new Set(ruleset.profiles.flatMap(({ clauses }) => clauses.map(({ peers }) => peers)));
    const { classes, count } = this.#refine(lists);
    this.#classes = classes;
    this.classCount = count;
    this.#every = Array.from({ length: count }, (_, index) => index);
  }

  /** Returns the classes of a workload's addresses of one family, ascending. */
  classesOf(subject: Subject, family: Family): readonly number[] {
    const classes = subject.addresses.flatMap((address) => {
      const place = this.#places.get(address);
      if (place === undefined || this.#sorted[place]?.family !== family) return [];
      return [this.#classes[place] ?? 0];
    });
    return [...new Set(classes)].sort((a, b) => a - b);
  }

  /** Returns the classes whose addresses are among the peers. */
  classesWithin(peers: Clause["peers"]): readonly number[] {
    if (peers === "any") return this.#every;
    const known = this.#lists.get(peers);
    if (known !== undefined) return known;
    const found = new Set<number>();
    for (const place of this.#placesWithin(peers)) found.add(this.#classes[place] ?? 0);
    const classes = [...found];
    this.#lists.set(peers, classes);
    return classes;
  }

  /** Returns the number of distinct workload addresses in an interval. */
  countWithin(interval: Interval): number {
    return this.#firstFrom(interval.family, interval.end + 1n) - this.#firstFrom(interval.family, interval.start);
  }

  /** Starts with one class per family, and splits each class that a list contains only in part. */
  #refine(lists: ReadonlySet<Clause["peers"]>): { readonly classes: Uint32Array; readonly count: number } {
    let classes = Uint32Array.from(this.#sorted, ({ family }) => (family === 4 ? 0 : 1));
    let next = 2;
    for (const peers of lists) {
      if (peers === "any") continue;
      const split = new Map<number, number>();
      for (const place of this.#placesWithin(peers)) {
        const old = classes[place] ?? 0;
        let id = split.get(old);
        if (id === undefined) split.set(old, (id = next++));
        classes[place] = id;
      }
    }
    // Classes that moved as a whole left their old number unused.
    const dense = new Map<number, number>();
    classes = classes.map((old) => {
      const id = dense.get(old) ?? dense.size;
      dense.set(old, id);
      return id;
    });
    return { classes, count: dense.size };
  }

  *#placesWithin(peers: readonly string[]): Generator<number> {
    for (const cidr of peers) {
      const [from, to] = this.#rangeOf(cidr);
      for (let place = from; place < to; place += 1) yield place;
    }
  }

  #rangeOf(cidr: string): readonly [number, number] {
    const known = this.#ranges.get(cidr);
    if (known !== undefined) return known;
    const { family, start, end } = this.#parser.parse(cidr);
    const range = [this.#firstFrom(family, start), this.#firstFrom(family, end + 1n)] as const;
    this.#ranges.set(cidr, range);
    return range;
  }

  /** Returns the first index whose address is not below this one. */
  #firstFrom(family: Family, address: bigint): number {
    const wanted: Interval = { family, start: address, end: address };
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const interval = this.#sorted[middle];
      if (interval !== undefined && compareIntervals(interval, wanted) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
