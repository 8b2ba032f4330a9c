/**
 * Finds why a connection opens or closes: the rules and policies, with file and line, that one state has and the other
 * has not. Both are the same question with the states swapped: which connections does the state `to` allow that `from`
 * did not, and which rules of `to` allow them, or which policies of `from` blocked them?
 */
import type { Clause, Direction, Profile, Rule, Ruleset, Subject } from "../../model/ruleset.js";
import { qualifiedName, refKey, type ObjectSet, type StateObject } from "../../model/state.js";
import { AddressParser, AddressSet, type Interval } from "../../policy/address-space.js";
import { rangesOfUnplaced } from "../../inventory/unplaced.js";
import { NetworkSetIndex } from "../../policy/compile/network-sets.js";
import { canonicalCidrs } from "../../policy/compile/peers.js";
import { listOutside } from "../../policy/reachability/external.js";
import { rulePeers } from "../../policy/reachability/set-names.js";
import type { PortSetId, PortSets } from "../../policy/reachability/port-sets.js";

/** An object that differs between the two states and contributes to the opening or closing of a connection. */
export interface Cause {
  readonly kind: "NetworkPolicy" | "NetworkSet" | "Workload";
  /** `namespace/name`; the name alone of a NetworkSet. */
  readonly name: string;
  /** Of a policy: the direction and, if one rule is the cause, its index in that list. */
  readonly direction?: Direction;
  readonly index?: number;
  readonly file?: string;
  readonly line?: number;
}

/** One side of the comparison. */
export interface ComparedState {
  readonly objects: ObjectSet;
  readonly ruleset: Ruleset;
}

/**
 * Returns the causes. `from`, `to`: names of workloads, or CIDRs. `gained`: the ports that the second state allows
 * between them and the first does not.
 */
export type CauseFinder = (from: string, to: string, gained: PortSetId) => readonly Cause[];

export function createCauseFinder(without: ComparedState, having: ComparedState, sets: PortSets): CauseFinder {
  const [before, after] = [new Index(without, sets), new Index(having, sets)];
  const known = new Map<string, readonly Cause[]>();
  const sideCauses = (workload: string, direction: Direction, peer: string, gained: PortSetId): readonly Cause[] => {
    const own = after.subject(workload);
    if (own === undefined) return [];
    const old = before.subject(workload);
    if (old === undefined) return [workloadCause(workload, having.objects)];
    // A peer that was added or removed is itself the cause; its own side reports it.
    if (after.subject(peer) !== undefined && before.subject(peer) === undefined) return [];
    const key = [workload, direction, peer, gained].join(" ");
    const causes = known.get(key) ?? compare(before, after, { old, own, direction, peer, gained });
    known.set(key, causes);
    return causes;
  };
  return (from, to, gained) => {
    const causes = unique([...sideCauses(from, "egress", to, gained), ...sideCauses(to, "ingress", from, gained)]);
    if (causes.length > 0) return causes;
    // The policies of both ends allowed it before, but the workloads shared an address or had none.
    const ends = [from, to].filter((name) => after.subject(name) !== undefined);
    const changed = ends.filter((name) => isChanged(`Workload/${name}`, before, after));
    return (changed.length > 0 ? changed : ends).map((name) => workloadCause(name, having.objects));
  };
}

interface Question {
  readonly old: Subject;
  readonly own: Subject;
  readonly direction: Direction;
  readonly peer: string;
  readonly gained: PortSetId;
}

function compare(before: Index, after: Index, { old, own, direction, peer, gained }: Question): readonly Cause[] {
  const { sets } = after;
  const allowed = after.allowed(own, direction, peer);
  const had = before.allowed(old, direction, peer);
  const here = sets.subtract(sets.intersect(allowed.set, gained), had.set);
  // This end allowed it before as well: the other end is the cause.
  if (here === sets.empty) return [];
  if (allowed.rules === null) {
    const lifted = old[direction].policies.map((name) => policyCause(name, direction, before.objects));
    return preferChanged(lifted, before, after);
  }
  const rules = allowed.rules.filter(({ set }) => sets.intersect(set, here) !== sets.empty);
  const causes = preferChanged(
    rules.map(({ rule }) => ruleCause(rule)),
    before,
    after,
  );
  // No rule changed: the workloads or the NetworkSets that it matches did.
  const isSame = causes.every(({ name }) => !isChanged(`NetworkPolicy/${name}`, before, after));
  if (!isSame) return causes;
  const subjects = [own.workload, peer].filter((name) => isChanged(`Workload/${name}`, before, after));
  const changedSets = changedSetsOf(
    rules.map(({ rule }) => rule),
    before,
    after,
  );
  return [
    ...subjects.map((name) => workloadCause(name, after.objects)),
    ...changedSets.map((name) => setCause(name, after.objects)),
    ...causes,
  ];
}

/** Returns the causes that differ between the states; all of them if none does. */
function preferChanged(causes: readonly Cause[], before: Index, after: Index): readonly Cause[] {
  const changed = causes.filter(({ name }) => isChanged(`NetworkPolicy/${name}`, before, after));
  return changed.length > 0 ? changed : causes;
}

function isChanged(key: string, before: Index, after: Index): boolean {
  return before.objects.get(key)?.digest !== after.objects.get(key)?.digest;
}

/** Returns the names of the sets that these rules name now, and that differ. */
function changedSetsOf(rules: readonly Rule[], before: Index, after: Index): readonly string[] {
  const sets = rules.flatMap((rule) =>
    rulePeers(rule, after.objects).flatMap((peer) => after.networkSets.setsOf(peer)),
  );
  const names = new Set(sets.map(({ metadata }) => metadata.name));
  return [...names].filter((name) => isChanged(refKey({ kind: "NetworkSet", namespace: null, name }), before, after));
}

interface AllowingRule {
  readonly rule: Rule;
  readonly set: PortSetId;
}

/**
 * The connections that one end's policies allow with a peer; `rules` is null if nothing is enforced, and all is
 * allowed.
 */
interface Allowed {
  readonly set: PortSetId;
  readonly rules: readonly AllowingRule[] | null;
}

class Index {
  readonly objects: ObjectSet;
  readonly networkSets: NetworkSetIndex;
  readonly #subjects: ReadonlyMap<string, Subject>;
  readonly #profiles: ReadonlyMap<string, Profile>;
  readonly #parser = new AddressParser();
  readonly #outsides = new Map<string, readonly Clause[]>();
  readonly #allowed = new Map<string, Allowed>();
  readonly #parsed = new Map<readonly string[], AddressSet>();

  constructor(
    { objects, ruleset }: ComparedState,
    readonly sets: PortSets,
  ) {
    this.objects = objects;
    this.networkSets = new NetworkSetIndex(objects);
    this.#subjects = new Map(ruleset.subjects.map((subject) => [subject.workload, subject]));
    this.#profiles = new Map(ruleset.profiles.map((profile) => [profile.key, profile]));
  }

  subject(workload: string): Subject | undefined {
    return this.#subjects.get(workload);
  }

  allowed(subject: Subject, direction: Direction, peer: string): Allowed {
    const profile = this.#profiles.get(subject[direction].profile ?? "");
    if (subject[direction].mode !== "enforce" || profile === undefined) return { set: this.sets.all, rules: null };
    const key = `${profile.key} ${peer}`;
    const known = this.#allowed.get(key);
    if (known !== undefined) return known;
    const rules = this.#clausesFor(profile, peer).flatMap(({ rule: index, ports }): readonly AllowingRule[] => {
      const rule = index === null ? undefined : profile.rules[index];
      return rule === undefined ? [] : [{ rule, set: this.sets.of(ports) }];
    });
    const set = rules.reduce((sum, one) => this.sets.union(sum, one.set), this.sets.empty);
    this.#allowed.set(key, { set, rules });
    return { set, rules };
  }

  /** Returns the clauses that match a peer: a workload, or a CIDR. */
  #clausesFor(profile: Profile, peer: string): readonly Clause[] {
    const matching = (clauses: readonly Clause[], addresses: readonly Interval[]): readonly Clause[] =>
      clauses.filter(({ peers }) => peers === "any" || addresses.some((one) => this.#parse(peers).meets(one)));
    // A block stands for external addresses: a rule that matches a workload inside it says nothing about those.
    const ranges = rangesOfUnplaced(this.objects).get(peer);
    if (ranges !== undefined) {
      const selected = profile.clauses.filter(({ unplaced }) => unplaced?.includes(peer));
      return [...selected, ...matching(this.#outside(profile), ranges)];
    }
    const workload = this.#subjects.get(peer);
    return workload === undefined
      ? matching(this.#outside(profile), [this.#parser.parse(peer)])
      : matching(
          profile.clauses,
          workload.addresses.map((text) => this.#parser.parse(text)),
        );
  }

  #outside(profile: Profile): readonly Clause[] {
    const clauses =
      this.#outsides.get(profile.key) ?? listOutside(profile, this.objects, this.networkSets).map(disjoint);
    this.#outsides.set(profile.key, clauses);
    return clauses;
  }

  /** Equal lists are the same object; see Clause. */
  #parse(peers: readonly string[]): AddressSet {
    const parsed = this.#parsed.get(peers) ?? new AddressSet(peers.map((cidr) => this.#parser.parse(cidr)));
    this.#parsed.set(peers, parsed);
    return parsed;
  }
}

/** The blocks of a rule may overlap, and an address set has none that do. */
function disjoint(clause: Clause): Clause {
  return clause.peers === "any" ? clause : { ...clause, peers: canonicalCidrs(clause.peers) };
}

function setCause(name: string, objects: ObjectSet): Cause {
  return { kind: "NetworkSet", name, ...placeOf(objects.get(refKey({ kind: "NetworkSet", namespace: null, name }))) };
}

function ruleCause({ policy, direction, index, file, line }: Rule): Cause {
  const place = file === undefined || line === undefined ? {} : { file, line };
  return { kind: "NetworkPolicy", name: qualifiedName(policy), direction, index, ...place };
}

function policyCause(name: string, direction: Direction, objects: ObjectSet): Cause {
  return { kind: "NetworkPolicy", name, direction, ...placeOf(objects.get(`NetworkPolicy/${name}`)) };
}

function workloadCause(name: string, objects: ObjectSet): Cause {
  const [namespace = "", own = ""] = name.split("/");
  return { kind: "Workload", name, ...placeOf(objects.get(refKey({ kind: "Workload", namespace, name: own }))) };
}

function placeOf(object: StateObject | undefined): Pick<Cause, "file" | "line"> {
  return object?.position === undefined ? {} : { file: object.position.file, line: object.position.line };
}

function unique(causes: readonly Cause[]): readonly Cause[] {
  return [...new Map(causes.map((cause) => [JSON.stringify(cause), cause])).values()];
}
