/**
 * The reference: what a ruleset says of the first packet of a connection. Whatever enforces must
 * agree with this function.
 */
import { parseCidr } from "cidr-tools";
import type { Clause, FlowQuery, PortRange, Profile, Ruleset, SubjectDirection, Verdict } from "../model/ruleset.js";

/** An evaluator that has prepared a ruleset once, for asking many times. */
export type Evaluator = (query: FlowQuery) => Verdict;

const PROTOCOLS: ReadonlyMap<number, PortRange["protocol"]> = new Map([
  [1, "ICMP"],
  [58, "ICMP"],
  [6, "TCP"],
  [17, "UDP"],
  [132, "SCTP"],
]);

export function evaluate(ruleset: Ruleset, query: FlowQuery): Verdict {
  return createEvaluator(ruleset)(query);
}

/** @throws RangeError for a workload that the ruleset does not know: a question about nothing has no answer */
export function createEvaluator(ruleset: Ruleset): Evaluator {
  const subjects = new Map(ruleset.subjects.map((subject) => [subject.workload, subject]));
  const profiles = new Map(ruleset.profiles.map((profile) => [profile.key, prepareProfile(profile)]));
  return (query) => {
    const subject = subjects.get(query.workload);
    if (subject === undefined) throw new RangeError(`no such workload in the ruleset: ${query.workload}`);
    const direction: SubjectDirection = subject[query.direction];
    if (direction.profile === null) return { verdict: "Allowed", reason: "not-isolated" };
    const profile = profiles.get(direction.profile);
    const rule = profile === undefined ? undefined : decide(profile, query);
    if (rule !== undefined) return { verdict: "Allowed", reason: "rule", rule };
    return direction.mode === "audit"
      ? { verdict: "Allowed", reason: "audit", policies: direction.policies }
      : { verdict: "Denied", reason: "no-rule", policies: direction.policies };
  };
}

interface PreparedClause {
  readonly clause: Clause;
  readonly peers: "any" | AddressSet;
}

interface PreparedProfile {
  readonly profile: Profile;
  readonly clauses: readonly PreparedClause[];
}

function prepareProfile(profile: Profile): PreparedProfile {
  const clauses = profile.clauses.map((clause) => ({
    clause,
    peers: clause.peers === "any" ? ("any" as const) : new AddressSet(clause.peers),
  }));
  return { profile, clauses };
}

/** The first clause that matches decides: it only ever allows, so order matters for the name alone. */
function decide({ profile, clauses }: PreparedProfile, query: FlowQuery): Profile["rules"][number] | undefined {
  const { start, version } = parseCidr(query.peer);
  const protocol = PROTOCOLS.get(query.protocol);
  for (const { clause, peers } of clauses) {
    if (peers !== "any" && !peers.has(version, start)) continue;
    if (!matchesPorts(clause, protocol, query.port)) continue;
    return profile.rules[clause.rule];
  }
  return undefined;
}

/** A packet whose ports are not known matches only what allows every port. */
function matchesPorts(clause: Clause, protocol: PortRange["protocol"] | undefined, port: number | null): boolean {
  if (clause.ports === "any") return true;
  return clause.ports.some(
    (range) =>
      range.protocol === protocol &&
      (port === null ? range.first === 0 && range.last === 65535 : range.first <= port && port <= range.last),
  );
}

/** Disjoint CIDRs as sorted intervals, for a binary search. */
export class AddressSet {
  readonly #intervals: Readonly<Record<4 | 6, readonly { readonly start: bigint; readonly end: bigint }[]>>;

  constructor(cidrs: readonly string[]) {
    const parsed = cidrs.map((cidr) => parseCidr(cidr));
    const family = (version: 4 | 6) =>
      parsed
        .filter((cidr) => cidr.version === version)
        .map(({ start, end }) => ({ start, end }))
        .sort((a, b) => (a.start < b.start ? -1 : 1));
    this.#intervals = { 4: family(4), 6: family(6) };
  }

  has(version: number, address: bigint): boolean {
    const intervals = this.#intervals[version === 4 ? 4 : 6];
    let low = 0;
    let high = intervals.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const interval = intervals[middle];
      if (interval === undefined) return false;
      if (address < interval.start) high = middle - 1;
      else if (address > interval.end) low = middle + 1;
      else return true;
    }
    return false;
  }
}
