/**
 * Counters: turns packets by label into packets by rule and by workload. pf counts from zero after every load, so that
 * the counts of earlier loads of this agent are kept here; an agent that starts begins with the counts of the kernel.
 */
import type { Direction, Ruleset } from "../../../model/ruleset.js";
import type { Observation, PacketTotal, WorkloadPackets } from "../../../interfaces/enforcer.js";
import type { Verdict } from "../../../model/flow.js";
import type { Rendered } from "../render/render.js";

export class PfCounters {
  readonly #kept = new Map<string, bigint>();

  /**
   * Keeps the counts of replaced rules.
   * @param labels as they were when the rules were replaced
   */
  keep(labels: ReadonlyMap<string, bigint>): void {
    for (const [label, packets] of labels) this.#kept.set(label, (this.#kept.get(label) ?? 0n) + packets);
  }

  read(
    ruleset: Ruleset,
    { rules }: Rendered,
    labels: ReadonlyMap<string, bigint>,
  ): Pick<Observation, "packets" | "counters"> {
    const totals = new Map<string, bigint>();
    const byRule = new Map<string, bigint>();
    const byWorkload = new Map<string, WorkloadPackets>(
      ruleset.subjects.map(({ workload }) => [workload, { ingress: none(), egress: none(), refusedCalls: 0n }]),
    );
    const seen = new Set<string>();
    for (const { label, kind, rule, workload, direction } of rules) {
      // A label counts once, however many rules of pf have it.
      if (seen.has(label)) continue;
      seen.add(label);
      const packets = (this.#kept.get(label) ?? 0n) + (labels.get(label) ?? 0n);
      const verdict: Verdict = kind === "rule" ? "allowed" : kind === "denied" ? "denied" : "audited";
      if (rule !== undefined) byRule.set(rule.key, packets);
      const way = rule?.direction ?? direction;
      if (way === undefined) continue;
      const key = `${way} ${verdict}`;
      totals.set(key, (totals.get(key) ?? 0n) + packets);
      const counts = byWorkload.get(workload ?? "");
      if (counts !== undefined)
        byWorkload.set(workload ?? "", { ...counts, [way]: { ...counts[way], [verdict]: packets } });
    }
    return { packets: toTotals(totals), counters: { rules: byRule, workloads: byWorkload } };
  }
}

const none = (): Record<Verdict, bigint> => ({ allowed: 0n, denied: 0n, audited: 0n });

const DIRECTIONS: readonly Direction[] = ["ingress", "egress"];
const VERDICTS: readonly Verdict[] = ["allowed", "denied", "audited"];

function toTotals(totals: ReadonlyMap<string, bigint>): readonly PacketTotal[] {
  return DIRECTIONS.flatMap((direction) =>
    VERDICTS.map((verdict) => ({ direction, verdict, packets: totals.get(`${direction} ${verdict}`) ?? 0n })),
  );
}
