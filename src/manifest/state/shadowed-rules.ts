/**
 * Finds rules of a policy that never matter. Exact: it reports a rule only if another rule certainly allows everything
 * that this one allows. Rules that only several others together cover are not found.
 */
import { canonicalJson } from "../../model/digest.js";
import type { Peer, PolicyPort } from "../../model/objects.js";

export interface RuleShape {
  readonly peers: readonly Peer[] | undefined;
  readonly ports: readonly PolicyPort[] | undefined;
}

/** Largest number of rules. Each is compared with every other, and a warning is not worth more time than this. */
const MAX_RULES = 500;

interface Shadow {
  readonly rule: number;
  /** An earlier rule that covers it, or a later one that allows strictly more. */
  readonly by: number;
}

/** Returns the shadowed rules in their order. */
export function findShadows(rules: readonly RuleShape[]): readonly Shadow[] {
  if (rules.length > MAX_RULES) return [];
  const shapes = rules.map(({ peers, ports }): Shape => ({ peers: new Set((peers ?? []).map(canonicalJson)), ports }));
  return shapes.flatMap((shape, rule) => {
    const by = shapes.findIndex(
      (other, at) => at !== rule && covers(other, shape) && (at < rule || !covers(shape, other)),
    );
    return by === -1 ? [] : [{ rule, by }];
  });
}

/** Each rule is compared with every other, so that peers are compared by their texts, which are computed once. */
interface Shape {
  readonly peers: ReadonlySet<string>;
  readonly ports: RuleShape["ports"];
}

/** An absent or empty list means everything (Kubernetes API, NetworkPolicyIngressRule). */
function covers(outer: Shape, inner: Shape): boolean {
  const isMeant =
    outer.peers.size === 0 || (inner.peers.size > 0 && [...inner.peers].every((peer) => outer.peers.has(peer)));
  return isMeant && coversList(outer.ports, inner.ports, coversPort);
}

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
