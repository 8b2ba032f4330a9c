/**
 * Classes of unplaced workloads, beside the classes of addresses: the peers of one family that the same rules select and
 * that may have the same addresses. Of what a profile allows with such a peer there are two answers: what it allows at some
 * address that the peer may have, and what it allows at each of them.
 */
import type { Clause, Profile, Ruleset } from "../../model/ruleset.js";
import type { Family, Interval } from "../address-space.js";
import { FAMILIES } from "../address-space.js";
import type { AddressRange } from "./external.js";
import type { PortSetId, PortSets } from "./port-sets.js";

interface UnplacedClass {
  readonly family: Family;
  readonly ranges: readonly Interval[];
}

export class UnplacedClasses {
  readonly #classes: UnplacedClass[] = [];
  readonly #byName = new Map<string, Readonly<Record<Family, readonly number[]>>>();
  readonly #lists = new Map<readonly string[], readonly number[]>();

  /** @param first the number of the first class */
  constructor(
    ruleset: Ruleset,
    ranges: ReadonlyMap<string, readonly Interval[]>,
    private readonly first: number,
  ) {
    if (ranges.size === 0) return;
    const ids = new Map<string, number>();
    const lists = new Set(ruleset.profiles.flatMap(({ clauses }) => clauses.flatMap(({ unplaced }) => unplaced ?? [])));
    const memberships = membershipsOf(ruleset);
    for (const [name, own] of ranges) {
      const selected = lists.has(name) ? (memberships.get(name) ?? []).join() : "";
      const classes = FAMILIES.map((family) => {
        const inFamily = own.filter((range) => range.family === family);
        if (inFamily.length === 0) return [];
        const key = `${selected} ${inFamily.map(({ start, end }) => `${start}-${end}`).join()} ${family}`;
        const id = ids.get(key) ?? this.#classes.push({ family, ranges: inFamily }) - 1;
        ids.set(key, id);
        return [first + id];
      });
      this.#byName.set(name, { 4: classes[0] ?? [], 6: classes[1] ?? [] });
    }
  }

  get count(): number {
    return this.#classes.length;
  }

  /** Returns the class of a workload's addresses of one family; undefined for a workload that is placed. */
  classesOf(name: string, family: Family): readonly number[] | undefined {
    return this.#byName.get(name)?.[family];
  }

  /** Returns the classes of the unplaced peers of a clause. */
  classesWithin({ unplaced }: Clause): readonly number[] {
    if (unplaced === undefined) return [];
    const classes = this.#lists.get(unplaced) ?? [
      ...new Set(unplaced.flatMap((name) => FAMILIES.flatMap((family) => this.classesOf(name, family) ?? []))),
    ];
    this.#lists.set(unplaced, classes);
    return classes;
  }

  /**
   * Adds to a profile's vectors what its blocks allow with each class.
   * @param external what the profile allows with addresses
   */
  addBlocks(
    vectors: { readonly some: Uint32Array; readonly each: Uint32Array },
    external: readonly AddressRange[],
    sets: PortSets,
  ): void {
    for (const [index, { ranges }] of this.#classes.entries()) {
      const id = this.first + index;
      const { some, each } = within(ranges, external, sets);
      vectors.some[id] = sets.union(vectors.some[id] ?? sets.empty, some);
      vectors.each[id] = sets.union(vectors.each[id] ?? sets.empty, each);
    }
  }
}

/** Returns for each unplaced workload the lists that it is in, by number. Equal lists are the same object. */
function membershipsOf(ruleset: Ruleset): ReadonlyMap<string, readonly number[]> {
  const numbers = new Map<readonly string[], number>();
  const memberships = new Map<string, number[]>();
  const clauses = ruleset.profiles.flatMap((profile: Profile) => profile.clauses);
  for (const { unplaced } of clauses) {
    if (unplaced === undefined || numbers.has(unplaced)) continue;
    const number = numbers.size;
    numbers.set(unplaced, number);
    for (const name of unplaced) {
      const known = memberships.get(name);
      if (known === undefined) memberships.set(name, [number]);
      else known.push(number);
    }
  }
  return memberships;
}

/** Both lists are ascending and disjoint. */
function within(
  ranges: readonly Interval[],
  external: readonly AddressRange[],
  sets: PortSets,
): { readonly some: PortSetId; readonly each: PortSetId } {
  let some = sets.empty;
  let each: PortSetId | null = null;
  for (const range of ranges) {
    let from = range.start;
    for (const { family, start, end, set } of external) {
      if (family !== range.family || end < range.start || start > range.end) continue;
      some = sets.union(some, set);
      each = start > from ? sets.empty : each === null ? set : sets.intersect(each, set);
      from = end + 1n;
    }
    if (from <= range.end) each = sets.empty;
  }
  return { some, each: each ?? sets.empty };
}
