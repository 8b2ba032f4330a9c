/**
 * Live differences: what a coming ruleset would cut of the connections and flows that stand. They have no first packet to come; the evaluator,
 * which the programs agree with, says what each would get. Pure.
 */
import type { ConnectionQuery, PolicyVerdict, Ruleset } from "../../model/ruleset.js";
import { createEvaluator, type Evaluator } from "../../policy/evaluate.js";
import { allSubjects, type Image } from "./lower/image.js";
import type { LiveConnection } from "./maps/live-connections.js";
import type { LiveDifferences, RawShadowCount } from "./maps/shadow-counts.js";

interface Lowered {
  readonly ruleset: Ruleset;
  readonly image: Image;
}

export function liveDifferences(live: readonly LiveConnection[], inForce: Lowered, coming: Lowered): LiveDifferences {
  const workloads = new Map([...allSubjects(inForce.image)].map(([workload, { id }]) => [id, workload]));
  const known = new Set(inForce.ruleset.subjects.map(({ workload }) => workload));
  const [now, next] = [createEvaluator(inForce.ruleset), createEvaluator(coming.ruleset)];
  const ruleIds = [idsOf(inForce.image), idsOf(coming.image)] as const;
  const differences: RawShadowCount[] = [];
  let evaluated = 0;
  for (const one of live) {
    const workload = workloads.get(one.subject);
    // Whether a workload talks to itself, only the programs know.
    if (workload === undefined || !known.has(workload) || one.isToItself) continue;
    const held = decide(now, workload, one);
    if (held === null || held.found.verdict === "Denied") continue;
    evaluated += 1;
    const wanted = decide(next, workload, one);
    if (wanted === null || wanted.found.verdict === "Allowed") continue;
    differences.push({
      effect: "denied",
      direction: held.direction,
      subject: one.subject,
      rule: ruleIds[0](held.found),
      comingRule: ruleIds[1](wanted.found),
      count: 1,
    });
  }
  return { evaluated, differences };
}

/** Returns the first direction that allows, else the first one; null if it asked in none. */
function decide(
  evaluate: Evaluator,
  workload: string,
  { peer, protocol, asked }: LiveConnection,
): { readonly direction: ConnectionQuery["direction"]; readonly found: PolicyVerdict } | null {
  const all = asked.map(({ direction, port }) => ({
    direction,
    found: evaluate({ workload, direction, peer, protocol, port: hasPort(protocol) ? port : null }),
  }));
  return all.find(({ found }) => found.verdict === "Allowed") ?? all[0] ?? null;
}

/** ICMP, TCP, UDP, UDP-Lite, SCTP. */
function hasPort(protocol: number): boolean {
  return [1, 6, 17, 58, 132, 136].includes(protocol);
}

/** Returns a function from what was decided to the id of its rule; 0: none. */
function idsOf({ rules }: Image): (found: PolicyVerdict) => number {
  let ids: ReadonlyMap<string, number> | null = null;
  return (found) => {
    if (found.reason !== "rule") return 0;
    ids ??= new Map([...rules].map(([id, { key }]) => [key, id]));
    return ids.get(found.rule.key) ?? 0;
  };
}
