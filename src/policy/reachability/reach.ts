/**
 * The connections that every workload of a state may open to every other, exactly and for all packets at once.
 *
 * A thousand workloads are a million pairs, and most of them are alike. So addresses that the same rules match form one
 * address class, workloads with the same rules and address classes form one workload class, and each pair of classes is
 * evaluated once.
 */
import type { ObjectSet } from "../../model/state.js";
import type { Clause, Direction, Profile, Ruleset, Subject } from "../../model/ruleset.js";
import type { Family } from "../address-space.js";
import { AddressParser, FAMILIES } from "../address-space.js";
import type { ExternalReach } from "./external.js";
import { createExternalReach } from "./external.js";
import { compile } from "../compile/compile.js";
import type { PortSetId, PortSets } from "./port-sets.js";
import { listSeveral } from "../../inventory/several.js";
import { rangesOfUnplaced } from "../../inventory/unplaced.js";
import { UnplacedClasses } from "./unplaced-classes.js";
import { WorkloadAddresses } from "./workload-addresses.js";

export interface Reach {
  /** All workloads, `namespace/name`, sorted. */
  readonly names: readonly string[];
  /** Class of the workload with this index: workloads of one class have the same connections, in both directions. */
  readonly classOf: Uint32Array;
  readonly classCount: number;
  /**
   * By class: whether such a workload may have several instances. Then what the row says of its own class also holds
   * between them; otherwise a workload has no connections with itself.
   */
  readonly isSeveral: readonly boolean[];
  /**
   * Returns the ports that a workload of one class may open to a workload of each class. Read-only; valid until the
   * next call.
   */
  readonly row: (fromClass: number) => Uint32Array;
  /**
   * The same for every place that the two may have: where the addresses of an end are not known, only what is allowed
   * whatever they are.
   */
  readonly sureRow: (fromClass: number) => Uint32Array;
  readonly external: ExternalReach;
  /** The ruleset that it was computed from: every workload of the state, in the order of `names`. */
  readonly ruleset: Ruleset;
}

/**
 * Computes the reach of a state.
 * @param within connections outside of this set are left out
 */
export function createReach(objects: ObjectSet, sets: PortSets, within: PortSetId = sets.all): Reach {
  const ruleset = compile(objects, null);
  const parser = new AddressParser();
  const addresses = new WorkloadAddresses(ruleset, parser);
  const portsOf = (ports: Clause["ports"]) => sets.intersect(sets.of(ports), within);
  const unplaced = new UnplacedClasses(ruleset, rangesOfUnplaced(objects), addresses.classCount);
  const external = createExternalReach(objects, ruleset, addresses, sets, { portsOf, within, parser });
  const vectors = createVectors(ruleset, { addresses, unplaced, external }, sets, { portsOf, within });
  const classesOf = (subject: Subject, family: Family): readonly number[] =>
    unplaced.classesOf(subject.workload, family) ?? addresses.classesOf(subject, family);
  const several = listSeveral(objects);
  const { classOf, members } = classify(ruleset.subjects, { classesOf, keyOf: vectors.keyOf, several });
  const classes = members.map((subject): ClassProfile => ({
    egress: vectors.of(subject, "egress"),
    ingress: vectors.of(subject, "ingress"),
    identity: vectors.identityOf(subject),
    isUnplaced: unplaced.classesOf(subject.workload, 4) !== undefined,
    4: classesOf(subject, 4),
    6: classesOf(subject, 6),
  }));
  const rows = (pair: typeof pairSet): ((fromClass: number) => Uint32Array) => {
    const row = new Uint32Array(classes.length);
    let rowOf = -1;
    return (fromClass) => {
      const from = classes[fromClass];
      if (from === undefined) throw new RangeError(`no such class of workloads: ${fromClass}`);
      if (rowOf !== fromClass) classes.forEach((to, index) => (row[index] = pair(from, to, sets)));
      rowOf = fromClass;
      return row;
    };
  };
  return {
    names: ruleset.subjects.map(({ workload }) => workload),
    classOf,
    classCount: classes.length,
    isSeveral: members.map(({ workload }) => several.has(workload)),
    row: rows(pairSet),
    sureRow: rows(surePairSet),
    ruleset,
    external,
  };
}

type ClassProfile = Readonly<Record<Direction, Vector>> &
  Readonly<Record<Family, readonly number[]>> & {
    readonly isUnplaced: boolean;
    /** What the destinations let in, as the source knows; by class of the peer. Null: not limited. */
    readonly identity: Uint32Array | null;
  };

/** By class of the peer. The two differ only for classes of unplaced workloads. */
interface Vector {
  /** Allowed at some address that the peer may have. */
  readonly some: Uint32Array;
  /** Allowed at each of them. */
  readonly each: Uint32Array;
}

/** Returns what of some ports the destination lets in, as far as the source knows. */
function letIn({ identity }: ClassProfile, target: number, sent: PortSetId, sets: PortSets): PortSetId {
  return identity === null ? sent : sets.intersect(sent, identity[target] ?? sets.empty);
}

/** Both ends must allow; with several addresses, the ports of all pairs of one family together. */
function pairSet(from: ClassProfile, to: ClassProfile, sets: PortSets): PortSetId {
  let sum = sets.empty;
  for (const family of FAMILIES) {
    for (const source of from[family]) {
      for (const target of to[family]) {
        const sent = letIn(from, target, from.egress.some[target] ?? sets.empty, sets);
        const received = to.ingress.some[source] ?? sets.empty;
        sum = sets.union(sum, sets.intersect(sent, received));
      }
    }
  }
  return sum;
}

/** An unplaced end has one address of either family: what is sure holds in each family that the two may share. */
function surePairSet(from: ClassProfile, to: ClassProfile, sets: PortSets): PortSetId {
  if (!from.isUnplaced && !to.isUnplaced) return pairSet(from, to, sets);
  let sure: PortSetId | null = null;
  for (const family of FAMILIES) {
    if (from[family].length === 0 || to[family].length === 0) continue;
    let sum = sets.empty;
    for (const source of from[family]) {
      for (const target of to[family]) {
        const sent = letIn(from, target, from.egress.each[target] ?? sets.empty, sets);
        const received = to.ingress.each[source] ?? sets.empty;
        sum = sets.union(sum, sets.intersect(sent, received));
      }
    }
    sure = sure === null ? sum : sets.intersect(sure, sum);
  }
  return sure ?? sets.empty;
}

/** For a subject and a direction: the ports that the subject's own policies allow, by class of the peer's address. */
interface Vectors {
  readonly of: (subject: Subject, direction: Direction) => Vector;
  /** Of the identity profile, by class of the peer; null: none. */
  readonly identityOf: (subject: Subject) => Uint32Array | null;
  /** Equal keys have equal vectors. */
  readonly keyOf: (subject: Subject, direction: Direction) => string;
}

interface Peers {
  readonly addresses: WorkloadAddresses;
  readonly unplaced: UnplacedClasses;
  readonly external: ExternalReach;
}

function createVectors(
  ruleset: Ruleset,
  { addresses, unplaced, external }: Peers,
  sets: PortSets,
  ports: { readonly portsOf: (ports: Clause["ports"]) => PortSetId; readonly within: PortSetId },
): Vectors {
  const profiles = new Map(ruleset.profiles.map((profile) => [profile.key, profile]));
  const classCount = addresses.classCount + unplaced.count;
  const all = new Uint32Array(classCount).fill(ports.within);
  const open: Vector = { some: all, each: all };
  const vectors = new Map<string, Vector>();
  const keyOf = (subject: Subject, direction: Direction): string =>
    // Connections that audit mode would deny pass, so that the direction is open here.
    subject[direction].mode === "enforce" ? (subject[direction].profile ?? "") : "";
  const identities = new Map<string, Uint32Array>();
  const makeOrdered = (profile: Profile): Uint32Array => {
    const [left, allowed] = [new Uint32Array(classCount).fill(ports.within), new Uint32Array(classCount)];
    allowed.fill(sets.empty);
    for (const clause of profile.clauses) {
      const set = ports.portsOf(clause.ports);
      for (const index of [...addresses.classesWithin(clause.peers), ...unplaced.classesWithin(clause)]) {
        const matched = sets.intersect(left[index] ?? sets.empty, set);
        if (matched === sets.empty) continue;
        left[index] = sets.subtract(left[index] ?? sets.empty, set);
        if (clause.effect !== "deny") allowed[index] = sets.union(allowed[index] ?? sets.empty, matched);
      }
    }
    // What no clause matches is not limited.
    return allowed.map((set, index) => sets.union(set, left[index] ?? sets.empty));
  };
  const make = (profile: Profile): Vector => {
    const vector = new Uint32Array(classCount).fill(sets.empty);
    // Rules of one profile often allow the same ports. So each distinct set is added to a class once, and always in the
    // same order, so that few intermediate sets arise.
    const marks = new Map<PortSetId, Uint8Array>();
    for (const clause of profile.clauses) {
      const allowed = ports.portsOf(clause.ports);
      const marked = marks.get(allowed) ?? new Uint8Array(classCount);
      marks.set(allowed, marked);
      for (const index of addresses.classesWithin(clause.peers)) marked[index] = 1;
      for (const index of unplaced.classesWithin(clause)) marked[index] = 1;
    }
    for (const [allowed, marked] of [...marks].sort(([a], [b]) => a - b)) {
      for (const [index, mark] of marked.entries()) {
        if (mark === 1) vector[index] = sets.union(vector[index] ?? sets.empty, allowed);
      }
    }
    if (unplaced.count === 0) return { some: vector, each: vector };
    const both = { some: vector, each: vector.slice() };
    unplaced.addBlocks(both, external.rangesOf(profile), sets);
    return both;
  };
  return {
    keyOf,
    identityOf: ({ identity }) => {
      const profile = profiles.get(identity ?? "");
      if (profile === undefined) return null;
      const vector = identities.get(profile.key) ?? makeOrdered(profile);
      identities.set(profile.key, vector);
      return vector;
    },
    of: (subject, direction) => {
      const key = keyOf(subject, direction);
      const profile = profiles.get(key);
      const vector = vectors.get(key) ?? (profile === undefined ? open : make(profile));
      vectors.set(key, vector);
      return vector;
    },
  };
}

function classify(
  subjects: readonly Subject[],
  {
    classesOf,
    keyOf,
    several,
  }: {
    readonly classesOf: (subject: Subject, family: Family) => readonly number[];
    readonly keyOf: Vectors["keyOf"];
    readonly several: ReadonlySet<string>;
  },
): { readonly classOf: Uint32Array; readonly members: readonly Subject[] } {
  const classOf = new Uint32Array(subjects.length);
  const ids = new Map<string, number>();
  const members: Subject[] = [];
  for (const [index, subject] of subjects.entries()) {
    const own = FAMILIES.map((family) => classesOf(subject, family).join(","));
    const isSeveral = several.has(subject.workload);
    const key = [keyOf(subject, "egress"), keyOf(subject, "ingress"), subject.identity ?? "", isSeveral, ...own].join(
      "|",
    );
    const id = ids.get(key) ?? members.push(subject) - 1;
    ids.set(key, id);
    classOf[index] = id;
  }
  return { classOf, members };
}
