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
import { WorkloadAddresses } from "./workload-addresses.js";

export interface Reach {
  /** All workloads, `namespace/name`, sorted. */
  readonly names: readonly string[];
  /** Class of the workload with this index: workloads of one class have the same connections, in both directions. */
  readonly classOf: Uint32Array;
  readonly classCount: number;
  /**
   * Returns the ports that a workload of one class may open to a workload of each class. Read-only; valid until the
   * next call.
   */
  readonly row: (fromClass: number) => Uint32Array;
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
  const vectors = createVectors(ruleset, addresses, sets, { portsOf, within });
  const { classOf, members } = classify(ruleset.subjects, addresses, vectors.keyOf);
  const classes = members.map((subject) => ({
    egress: vectors.of(subject, "egress"),
    ingress: vectors.of(subject, "ingress"),
    4: addresses.classesOf(subject, 4),
    6: addresses.classesOf(subject, 6),
  }));
  const row = new Uint32Array(classes.length);
  let rowOf = -1;
  return {
    names: ruleset.subjects.map(({ workload }) => workload),
    classOf,
    classCount: classes.length,
    row: (fromClass) => {
      const from = classes[fromClass];
      if (from === undefined) throw new RangeError(`no such class of workloads: ${fromClass}`);
      if (rowOf !== fromClass) classes.forEach((to, index) => (row[index] = pairSet(from, to, sets)));
      rowOf = fromClass;
      return row;
    },
    ruleset,
    external: createExternalReach(objects, ruleset, addresses, sets, { portsOf, within, parser }),
  };
}

type ClassProfile = Readonly<Record<Direction, Uint32Array>> & Readonly<Record<Family, readonly number[]>>;

/** Both ends must allow; with several addresses, the ports of all pairs of one family together. */
function pairSet(from: ClassProfile, to: ClassProfile, sets: PortSets): PortSetId {
  let sum = sets.empty;
  for (const family of FAMILIES) {
    for (const source of from[family]) {
      for (const target of to[family]) {
        const sent = from.egress[target] ?? sets.empty;
        const received = to.ingress[source] ?? sets.empty;
        sum = sets.union(sum, sets.intersect(sent, received));
      }
    }
  }
  return sum;
}

/** For a subject and a direction: the ports that the subject's own policies allow, by class of the peer's address. */
interface Vectors {
  readonly of: (subject: Subject, direction: Direction) => Uint32Array;
  /** Equal keys have equal vectors. */
  readonly keyOf: (subject: Subject, direction: Direction) => string;
}

function createVectors(
  ruleset: Ruleset,
  addresses: WorkloadAddresses,
  sets: PortSets,
  ports: { readonly portsOf: (ports: Clause["ports"]) => PortSetId; readonly within: PortSetId },
): Vectors {
  const profiles = new Map(ruleset.profiles.map((profile) => [profile.key, profile]));
  const open = new Uint32Array(addresses.classCount).fill(ports.within);
  const vectors = new Map<string, Uint32Array>();
  const keyOf = (subject: Subject, direction: Direction): string =>
    // Connections that audit mode would deny pass, so that the direction is open here.
    subject[direction].mode === "enforce" ? (subject[direction].profile ?? "") : "";
  const make = (profile: Profile): Uint32Array => {
    const vector = new Uint32Array(addresses.classCount).fill(sets.empty);
    // Rules of one profile often allow the same ports. So each distinct set is added to a class once, and always in the
    // same order, so that few intermediate sets arise.
    const marks = new Map<PortSetId, Uint8Array>();
    for (const clause of profile.clauses) {
      const allowed = ports.portsOf(clause.ports);
      const marked = marks.get(allowed) ?? new Uint8Array(addresses.classCount);
      marks.set(allowed, marked);
      for (const index of addresses.classesWithin(clause.peers)) marked[index] = 1;
    }
    for (const [allowed, marked] of [...marks].sort(([a], [b]) => a - b)) {
      for (const [index, mark] of marked.entries()) {
        if (mark === 1) vector[index] = sets.union(vector[index] ?? sets.empty, allowed);
      }
    }
    return vector;
  };
  return {
    keyOf,
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
  addresses: WorkloadAddresses,
  keyOf: Vectors["keyOf"],
): { readonly classOf: Uint32Array; readonly members: readonly Subject[] } {
  const classOf = new Uint32Array(subjects.length);
  const ids = new Map<string, number>();
  const members: Subject[] = [];
  for (const [index, subject] of subjects.entries()) {
    const own = FAMILIES.map((family) => addresses.classesOf(subject, family).join(","));
    const key = [keyOf(subject, "egress"), keyOf(subject, "ingress"), ...own].join("|");
    const id = ids.get(key) ?? members.push(subject) - 1;
    ids.set(key, id);
    classOf[index] = id;
  }
  return { classOf, members };
}
