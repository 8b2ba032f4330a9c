/**
 * Explains why a connection is allowed or denied: the verdicts of both ends, with the rules and policies behind them.
 * Pure: takes a state and a question whose ends are known, and agrees with the evaluator.
 */
import type { PortProtocol } from "../model/objects.js";
import type { Direction, ConnectionQuery, Rule, Ruleset, PolicyVerdict } from "../model/ruleset.js";
import type { ObjectSet } from "../model/state.js";
import { compile } from "./compile/compile.js";
import { PROTOCOL_NUMBERS } from "../model/protocol.js";
import { createSetNames } from "./reachability/set-names.js";
import { createEvaluator, createRuleFinder } from "./evaluate.js";
import { createMeaning } from "./meaning.js";
import { OwnerIndex } from "./owners.js";

/** One end of a connection. */
export interface End {
  /** `namespace/name`; null for an address that no workload has. */
  readonly workload: string | null;
  /** The addresses in question, canonical text: all addresses of the workload, or the one that was named. */
  readonly addresses: readonly string[];
}

export interface Question {
  readonly from: End;
  readonly to: End;
  /** `other`: any protocol except these four. */
  readonly protocol: PortProtocol | "ICMP" | "other";
  /** `type << 8 | code` for ICMP; null for `other`. */
  readonly port: number | null;
}

export interface DecidingRule {
  /** `namespace/name`. */
  readonly policy: string;
  readonly direction: Direction;
  readonly index: number;
  readonly file?: string;
  readonly line?: number;
  /** The NetworkSets that the rule names and that hold the other end's address; absent: none. */
  readonly networkSets?: readonly string[];
}

export interface IsolatingPolicy {
  /** `namespace/name`. */
  readonly policy: string;
  readonly file?: string;
  readonly line?: number;
}

/** The verdict of one end's policies. An address without a workload has no policies: `no-workload`. */
export interface Side {
  readonly verdict: PolicyVerdict["verdict"];
  readonly reason: PolicyVerdict["reason"] | "no-workload";
  /** All rules that allow it, the deciding one first. */
  readonly rules: readonly DecidingRule[];
  /**
   * All policies that isolate this end in this direction. If the end is denied, none of them has a rule that allows the
   * connection.
   */
  readonly policies: readonly IsolatingPolicy[];
  /** Only if the reason is `identity`: the workloads that have the destination; `policies` are theirs, for ingress. */
  readonly destinations?: readonly string[];
  /**
   * The workloads whose address the other end shares, if only they are let through, or would be; or, for `identity`, those
   * whose address the sender shares. Absent: none.
   */
  readonly sharing?: readonly string[];
}

/** The answer for one pair of addresses. */
export interface PairExplanation {
  readonly from: string;
  readonly to: string;
  readonly verdict: PolicyVerdict["verdict"];
  readonly egress: Side;
  readonly ingress: Side;
}

export interface Explanation {
  /** Allowed if any pair is allowed. */
  readonly verdict: PolicyVerdict["verdict"];
  /** The sides of the deciding pair: the first pair that is allowed, else the first. */
  readonly egress: Side;
  readonly ingress: Side;
  /** Each pair of addresses of one family. */
  readonly pairs: readonly PairExplanation[];
}

/** 253 stands for the other protocols (RFC 3692, for experiments). */
const OTHER_PROTOCOL = 253;

/** Returns null if the ends have no two addresses of one family: then no packet can pass between them. */
export function explain(objects: ObjectSet, question: Question): Explanation | null {
  return createExplainer(objects)(question);
}

/** Returns an explainer for several questions; the state is compiled once. */
export function createExplainer(objects: ObjectSet): (question: Question) => Explanation | null {
  const explainSide = createSideExplainer(objects, compile(objects, null));
  return (question) => explainWith(explainSide, question);
}

function explainWith(explainSide: SideExplainer, question: Question): Explanation | null {
  const pairs = question.from.addresses.flatMap((from) =>
    question.to.addresses
      .filter((to) => isIPv6(to) === isIPv6(from))
      .map((to): PairExplanation => {
        const packet = { protocol: protocolNumber(question.protocol, from), port: question.port };
        const [source, target] = [question.from.workload, question.to.workload];
        const egress = explainSide(question.from, { direction: "egress", peer: to, ...packet }, target);
        const ingress = explainSide(question.to, { direction: "ingress", peer: from, ...packet }, source);
        const isAllowed = egress.verdict === "Allowed" && ingress.verdict === "Allowed";
        return { from, to, verdict: isAllowed ? "Allowed" : "Denied", egress, ingress };
      }),
  );
  const deciding = pairs.find(({ verdict }) => verdict === "Allowed") ?? pairs[0];
  if (deciding === undefined) return null;
  return { verdict: deciding.verdict, egress: deciding.egress, ingress: deciding.ingress, pairs };
}

const isIPv6 = (address: string): boolean => address.includes(":");

/** Each family has an ICMP of its own (RFC 792, RFC 4443). */
function protocolNumber(protocol: Question["protocol"], address: string): number {
  if (protocol === "other") return OTHER_PROTOCOL;
  return PROTOCOL_NUMBERS[protocol === "ICMP" && isIPv6(address) ? "ICMPv6" : protocol];
}

type SideExplainer = (end: End, query: Omit<ConnectionQuery, "workload">, other: string | null) => Side;

function createSideExplainer(objects: ObjectSet, ruleset: Ruleset): SideExplainer {
  const evaluate = createEvaluator(ruleset);
  const findRules = createRuleFinder(ruleset);
  const setNames = createSetNames(objects, ruleset);
  const subjects = new Map(ruleset.subjects.map((subject) => [subject.workload, subject]));
  const owners = new OwnerIndex(objects);
  const meaning = createMeaning(objects);
  const policiesOf = (workload: string, direction: Direction): readonly IsolatingPolicy[] =>
    (subjects.get(workload)?.[direction].policies ?? []).map((policy) => {
      const position = objects.get(`NetworkPolicy/${policy}`)?.position;
      return { policy, ...(position === undefined ? {} : { file: position.file, line: position.line }) };
    });
  /** Returns the workloads that the rules mean, if they do not mean this one. */
  const sharersOf = (rules: readonly Rule[], other: string | null): readonly string[] => {
    if (other === null || rules.length === 0 || rules.some((rule) => meaning.means(rule, other))) return [];
    return owners.sharingWith(other).filter((name) => rules.some((rule) => meaning.means(rule, name)));
  };
  return ({ workload }, query, other) => {
    if (workload === null) return { verdict: "Allowed", reason: "no-workload", rules: [], policies: [] };
    const { verdict, reason } = evaluate({ workload, ...query });
    if (reason === "identity") {
      const destinations = owners.of({ address: query.peer, protocol: query.protocol, port: query.port });
      const policies = new Map(
        destinations.flatMap((name) => policiesOf(name, "ingress").map((one) => [one.policy, one] as const)),
      );
      const sharing = owners.sharingWith(workload);
      return { verdict, reason, rules: [], policies: [...policies.values()], destinations, sharing };
    }
    const rules = findRules({ workload, ...query });
    const sharing = sharersOf(rules, other);
    return {
      verdict,
      reason,
      rules: rules.map((rule) => toDecidingRule(rule, setNames.ofRule(rule, query.peer))),
      policies: policiesOf(workload, query.direction),
      ...(sharing.length === 0 ? {} : { sharing }),
    };
  };
}

function toDecidingRule({ policy, direction, index, file, line }: Rule, networkSets: readonly string[]): DecidingRule {
  return {
    policy: `${policy.namespace}/${policy.name}`,
    direction,
    index,
    ...(file === undefined ? {} : { file }),
    ...(line === undefined ? {} : { line }),
    ...(networkSets.length === 0 ? {} : { networkSets }),
  };
}
