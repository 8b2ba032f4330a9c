/**
 * The reference evaluator: the policy verdict of a ruleset for the first packet of a connection. Every backend must
 * agree with this function.
 */
import type {
  Clause,
  ConnectionQuery,
  PortRange,
  Profile,
  Rule,
  Ruleset,
  SubjectDirection,
  PolicyVerdict,
} from "../model/ruleset.js";
import type { OverrideKind } from "../model/override.js";
import { protocolName } from "../model/protocol.js";
import { AddressParser, AddressSet } from "./address-space.js";

/** An evaluator over a ruleset that was prepared once, for many queries. */
export type Evaluator = (query: ConnectionQuery) => PolicyVerdict;

export function evaluate(ruleset: Ruleset, query: ConnectionQuery): PolicyVerdict {
  return createEvaluator(ruleset)(query);
}

/** @throws RangeError for a workload that is not in the ruleset */
export function createEvaluator(ruleset: Ruleset): Evaluator {
  const assess = prepare(ruleset);
  return (query) => {
    const assessed = assess(query);
    if (assessed.override === "quarantine") return { verdict: "Denied", reason: "quarantine" };
    const verdict = verdictOf(assessed);
    // What egress policies let pass, or only count, must also be let in by the destination.
    return verdict.verdict === "Allowed" && !assessed.isLetIn() ? { verdict: "Denied", reason: "identity" } : verdict;
  };
}

function verdictOf({ override, direction, matching }: MatchedClauses): PolicyVerdict {
  if (override === "breakglass") return { verdict: "Allowed", reason: "breakglass" };
  if (direction.profile === null) return { verdict: "Allowed", reason: "not-isolated" };
  const first = matching.next();
  const isAudited = direction.mode === "audit";
  if (first.done !== true && first.value.rule !== null) {
    const { rule, isDenied } = first.value;
    if (!isDenied) return { verdict: "Allowed", reason: "rule", rule };
    if (!isAudited) return { verdict: "Denied", reason: "rule", rule };
  }
  return isAudited
    ? { verdict: "Allowed", reason: "audit", policies: direction.policies }
    : { verdict: "Denied", reason: "no-rule", policies: direction.policies };
}

/**
 * Returns a function that lists all rules that allow a packet, first the one that the verdict names.
 * @throws RangeError as the evaluator does
 */
export function createRuleFinder(ruleset: Ruleset): (query: ConnectionQuery) => readonly Rule[] {
  const assess = prepare(ruleset);
  return (query) => {
    const rules = new Set<Rule>();
    for (const { rule, isDenied } of assess(query).matching) {
      if (isDenied) break;
      if (rule !== null) rules.add(rule);
    }
    return [...rules];
  };
}

interface Match {
  readonly rule: Rule | null;
  readonly isDenied: boolean;
}

interface MatchedClauses {
  readonly override: OverrideKind | null;
  readonly direction: SubjectDirection;
  /** What the clauses that match say, found one by one on demand. */
  readonly matching: Iterator<Match, undefined> & Iterable<Match>;
  /** Returns whether the destination lets the subject in, as far as its own node knows. */
  readonly isLetIn: () => boolean;
}

function prepare(ruleset: Ruleset): (query: ConnectionQuery) => MatchedClauses {
  const parser = new AddressParser();
  const subjects = new Map(ruleset.subjects.map((subject) => [subject.workload, subject]));
  const sources = new Map(ruleset.profiles.map((profile) => [profile.key, profile]));
  const sets = new Map<readonly string[], AddressSet>();
  const profiles = new Map<string, PreparedProfile>();
  const profileOf = (key: string): PreparedProfile | undefined => {
    const known = profiles.get(key);
    const source = sources.get(key);
    if (known !== undefined || source === undefined) return known;
    const prepared = prepareProfile(source, parser, sets);
    profiles.set(key, prepared);
    return prepared;
  };
  return (query) => {
    const subject = subjects.get(query.workload);
    if (subject === undefined) throw new RangeError(`no such workload in the ruleset: ${query.workload}`);
    const direction = subject[query.direction];
    const profile = direction.profile === null ? undefined : profileOf(direction.profile);
    return {
      override: subject.override?.kind ?? null,
      direction,
      matching: matchingClauses(profile, query, parser),
      isLetIn: () => {
        if (query.direction === "ingress" || subject.identity === undefined) return true;
        return matchingClauses(profileOf(subject.identity), query, parser).next().value?.isDenied !== true;
      },
    };
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

/** Profiles share one peers list per rule; each such list becomes one set. */
function prepareProfile(
  profile: Profile,
  parser: AddressParser,
  sets: Map<readonly string[], AddressSet>,
): PreparedProfile {
  const clauses = profile.clauses.map((clause) => {
    if (clause.peers === "any") return { clause, peers: "any" as const };
    const peers = sets.get(clause.peers) ?? new AddressSet(clause.peers.map((cidr) => parser.parse(cidr)));
    sets.set(clause.peers, peers);
    return { clause, peers };
  });
  return { profile, clauses };
}

/** The first clause that matches decides. */
function* matchingClauses(
  prepared: PreparedProfile | undefined,
  query: ConnectionQuery,
  parser: AddressParser,
): Generator<Match, undefined> {
  if (prepared === undefined) return;
  const peer = parser.parse(query.peer);
  const protocol = protocolName(query.protocol);
  for (const { clause, peers } of prepared.clauses) {
    if (!matchesPorts(clause, protocol, query.port)) continue;
    if (peers !== "any" && !peers.has(peer)) continue;
    const rule = clause.rule === null ? null : (prepared.profile.rules[clause.rule] ?? null);
    yield { rule, isDenied: clause.effect === "deny" };
  }
}

/** A packet whose ports are not known matches only clauses that allow every port. */
function matchesPorts(clause: Clause, protocol: PortRange["protocol"] | undefined, port: number | null): boolean {
  if (clause.ports === "any") return true;
  return clause.ports.some(
    (range) =>
      range.protocol === protocol &&
      (port === null ? range.first === 0 && range.last === 65535 : range.first <= port && port <= range.last),
  );
}
