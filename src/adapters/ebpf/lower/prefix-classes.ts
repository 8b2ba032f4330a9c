/**
 * Prefix classes: a profile's prefixes, from wide to narrow, each with the clauses that match inside it and their
 * coverage. `lower` builds from exactly the classes that are counted.
 */
import type { Profile } from "../../../model/ruleset.js";
import { contains, parsePrefix, type Prefix } from "./prefix.js";
import { coverClause, join, joinAll, NOTHING, type Coverage, type Effort } from "./coverage.js";

export interface PrefixClass {
  readonly prefix: Prefix;
  /** Indexes of the clauses that match inside this prefix, ascending. Equal clauses are the same class. */
  readonly clauses: readonly number[];
  /** Computed on demand, from the coverage of the wider prefix around it. */
  readonly coverage: () => Coverage;
}

export const EVERY_PREFIX: readonly Prefix[] = [
  { family: 4, address: "0".repeat(32), length: 0 },
  { family: 6, address: "0".repeat(32), length: 0 },
];

/** The classes that the capacity check has walked, for `lower` to build entries from: each profile is walked once. */
export class WalkedProfiles {
  readonly #classes = new Map<Profile, readonly PrefixClass[]>();

  /** Walks the classes, and keeps them if the walk is completed. */
  *walk(profile: Profile, effort: Effort): Generator<PrefixClass> {
    const classes: PrefixClass[] = [];
    for (const one of walkClasses(profile, effort)) {
      classes.push(one);
      yield one;
    }
    this.#classes.set(profile, classes);
  }

  /** Returns the classes once, so that their memory is free when the entries are built. */
  take(profile: Profile): Iterable<PrefixClass> {
    const classes = this.#classes.get(profile);
    this.#classes.delete(profile);
    return classes ?? walkClasses(profile, { runs: 0 });
  }
}

export function* walkClasses(profile: Profile, effort: Effort): Generator<PrefixClass> {
  const own = new Map<number, Coverage>();
  const coverageOf = (index: number): Coverage => {
    const clause = profile.clauses[index];
    const coverage = own.get(index) ?? (clause === undefined ? NOTHING : coverClause(clause, index, effort));
    own.set(index, coverage);
    return coverage;
  };
  const stack: PrefixClass[] = [];
  for (const node of sortedNodes(profile)) {
    while (stack.length > 0 && !contains(stack.at(-1)?.prefix ?? node.prefix, node.prefix)) stack.pop();
    const outer = stack.at(-1);
    const one: PrefixClass = {
      prefix: node.prefix,
      clauses: union(outer?.clauses ?? [], node.own),
      coverage: once(() => join(outer?.coverage() ?? NOTHING, joinAll(node.own.map(coverageOf), effort), effort)),
    };
    stack.push(one);
    yield one;
  }
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

interface Node {
  readonly prefix: Prefix;
  /** Indexes of the clauses with exactly this prefix, ascending. */
  readonly own: number[];
}

/** Returns every prefix of the profile's clauses, wide before narrow. */
function sortedNodes(profile: Profile): readonly Node[] {
  const nodes = new Map<string, Node>();
  const add = (prefix: Prefix, clause: number): void => {
    const key = `${prefix.family}${prefix.address}/${prefix.length}`;
    const node = nodes.get(key);
    if (node === undefined) nodes.set(key, { prefix, own: [clause] });
    else if (node.own.at(-1) !== clause) node.own.push(clause);
  };
  profile.clauses.forEach((clause, index) => {
    if (clause.peers === "any") for (const prefix of EVERY_PREFIX) add(prefix, index);
    else for (const peer of clause.peers) add(parsePrefix(peer), index);
  });
  return [...nodes.values()].sort((a, b) => {
    if (a.prefix.family !== b.prefix.family) return a.prefix.family - b.prefix.family;
    if (a.prefix.address !== b.prefix.address) return a.prefix.address < b.prefix.address ? -1 : 1;
    return a.prefix.length - b.prefix.length;
  });
}

/** Returns the union. Both lists are ascending; so is the result. */
function union(a: readonly number[], b: readonly number[]): readonly number[] {
  if (a.length === 0) return b;
  return [...new Set([...a, ...b])].sort((x, y) => x - y);
}
