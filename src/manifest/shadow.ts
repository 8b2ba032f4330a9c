/**
 * Which rule of a policy can never be the one that matters. Exact: it says so only where the other
 * rule certainly allows everything that this one allows. Rules that are covered by several others
 * together are not found, and nothing is said of them.
 */
import { canonicalJson } from "../model/digest.js";
import type { Peer, PolicyPort } from "../model/objects.js";

export interface RuleShape {
  readonly peers: readonly Peer[] | undefined;
  readonly ports: readonly PolicyPort[] | undefined;
}

/** Each rule is compared with every other: a warning is not worth more than this. */
const MAX_RULES = 500;

/** Index of a rule that covers the rule at `index`: an earlier one, or a later one that allows strictly more. */
export function findShadow(rules: readonly RuleShape[], index: number): number | undefined {
  const rule = rules[index];
  if (rule === undefined || rules.length > MAX_RULES) return undefined;
  const by = rules.findIndex(
    (other, at) => at !== index && covers(other, rule) && (at < index || !covers(rule, other)),
  );
  return by === -1 ? undefined : by;
}

function covers(outer: RuleShape, inner: RuleShape): boolean {
  return (
    coversList(outer.peers, inner.peers, (a, b) => canonicalJson(a) === canonicalJson(b)) &&
    coversList(outer.ports, inner.ports, coversPort)
  );
}

/** An absent or empty list means everything (Kubernetes API, NetworkPolicyIngressRule). */
function coversList<T>(
  outer: readonly T[] | undefined,
  inner: readonly T[] | undefined,
  coversItem: (outer: T, inner: T) => boolean,
): boolean {
  if (outer === undefined || outer.length === 0) return true;
  if (inner === undefined || inner.length === 0) return false;
  return inner.every((item) => outer.some((candidate) => coversItem(candidate, item)));
}

function coversPort(outer: PolicyPort, inner: PolicyPort): boolean {
  if (outer.protocol === "ICMP" || inner.protocol === "ICMP") {
    if (outer.protocol !== "ICMP" || inner.protocol !== "ICMP") return false;
    return (
      (outer.type === undefined || outer.type === inner.type) && (outer.code === undefined || outer.code === inner.code)
    );
  }
  if (outer.protocol !== inner.protocol) return false;
  if (outer.port === undefined) return true;
  if (typeof outer.port === "string" || typeof inner.port !== "number") return outer.port === inner.port;
  return outer.port <= inner.port && (inner.endPort ?? inner.port) <= (outer.endPort ?? outer.port);
}
