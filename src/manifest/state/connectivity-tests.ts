/**
 * ConnectivityTests as part of a valid state: validating, planning, committing and writing a policy all refuse a state
 * that breaks one, with a counter-example.
 */
import type { Kind } from "../../model/objects.js";
import type { ObjectSet } from "../../model/state.js";
import type { Side } from "../../policy/explain.js";
import {
  findBroken,
  TooManyExpectations,
  type BrokenExpectation,
  type Counterexample,
} from "../../policy/reachability/connectivity-tests.js";
import { TooManyPortSets } from "../../policy/reachability/port-sets.js";
import type { ObjectProblem } from "./object-problem.js";

const KIND: Kind = "ConnectivityTest";

export function checkTests(objects: ObjectSet): readonly ObjectProblem[] {
  try {
    return findBroken(objects).map(toProblem);
  } catch (error) {
    if (!(error instanceof TooManyPortSets || error instanceof TooManyExpectations)) throw error;
    const [key] = [...objects.keys()].filter((candidate) => candidate.startsWith(`${KIND}/`));
    const message = `the tests could not be checked: ${error.message}`;
    return key === undefined ? [] : [{ key, problem: { code: "testFailed", path: ["spec"], anchor: "key", message } }];
  }
}

function toProblem({ test, list, index, pairs, example }: BrokenExpectation): ObjectProblem {
  if (example === null) {
    const message =
      "the expectation matches no connection: it selects no workload, or none of them has a port of that name";
    return { key: test, problem: { code: "testFailed", path: ["spec", list, index], message, wanted: "a connection" } };
  }
  const isAudited = list === "deny" && [example.explanation?.egress, example.explanation?.ingress].some(isAudit);
  const connection = `${example.from} → ${example.to} ${portOf(example)}`;
  const others = pairs === 1 ? "" : `; ${pairs} pairs break it`;
  return {
    key: test,
    problem: {
      code: "testFailed",
      path: ["spec", list, index],
      message:
        list === "deny"
          ? `${connection} is allowed and must not be: ${whyAllowed(example)}${others}`
          : `${connection} is denied and must be allowed: ${whyDenied(example)}${others}`,
      found: connection,
      wanted: list === "deny" ? "no such connection" : "the connection",
      fix: isAudited ? ENFORCE : list === "deny" ? "narrow what allows it" : "add rules that allow it, on both ends",
    },
  };
}

const ENFORCE =
  "audit mode denies nothing: enforce the policy (by its own mode, its Namespace's or the Cluster's), or add the test when it is enforced";

const isAudit = (side: Side | undefined): boolean => side?.reason === "audit";

function portOf({ protocol, port }: Counterexample): string {
  if (port === null) return "by a protocol other than TCP, UDP, SCTP and ICMP";
  return protocol === "ICMP" ? `ICMP ${port >> 8}.${port & 255}` : `${protocol} ${port}`;
}

function whyAllowed({ from, to, explanation }: Counterexample): string {
  if (explanation === null) return "they have no addresses of one family";
  return `${allowing(from, "egress", explanation.egress)}, and ${allowing(to, "ingress", explanation.ingress)}`;
}

function allowing(end: string, direction: string, { reason, rules: [rule], policies }: Side): string {
  if (reason === "no-workload") return `${end} is not an address of a workload`;
  if (reason === "audit") {
    const names = policies.map((policy) => `${policy.policy}${at(policy)}`);
    return `${names.join(", ")} only ${names.length === 1 ? "audits" : "audit"} ${direction} of ${end}`;
  }
  if (rule === undefined) return `nothing isolates ${direction} of ${end}`;
  return `${rule.policy} ${direction}[${rule.index}]${at(rule)} allows it`;
}

function whyDenied({ from, to, explanation }: Counterexample): string {
  if (explanation === null) return `${from} and ${to} have no addresses of one family`;
  const denied = [
    { end: from, direction: "egress", side: explanation.egress },
    { end: to, direction: "ingress", side: explanation.ingress },
  ].filter(({ side }) => side.verdict === "Denied");
  return denied
    .map(({ end, direction, side }) => {
      const names = side.policies.map((policy) => `${policy.policy}${at(policy)}`);
      return `${names.join(", ")} ${names.length === 1 ? "isolates" : "isolate"} ${direction} of ${end}, and no rule allows it`;
    })
    .join("; ");
}

function at({ file, line }: { readonly file?: string; readonly line?: number }): string {
  return file === undefined ? "" : ` (${file}:${line ?? 1})`;
}
