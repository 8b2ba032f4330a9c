/**
 * The instances of the patterns that a plan creates or changes, as nodes last reported them. Endpoints are no part of a
 * revision: this is what is there now, and may be another when the plan is applied.
 */
import { describePattern, isDiscovered, patternOf } from "../../inventory/process.js";
import { resolveInstances } from "../../inventory/resolve.js";
import type { Workload } from "../../model/objects.js";
import { qualifiedName, type ObjectSet } from "../../model/state.js";
import type { Plan } from "../../plan/plan.js";
import type { Store } from "../../interfaces/store.js";
import type { Clock } from "../../interfaces/system.js";

export interface PlannedInstances {
  /** `namespace/name` of the Workload. */
  readonly workload: string;
  readonly pattern: string;
  /** Names of its instances, sorted. */
  readonly instances: readonly string[];
  /** The oldest report among those of the instances; null if there is none. */
  readonly reportedAt: string | null;
  /** The age of that report in milliseconds. */
  readonly ageMs: number | null;
}

/** Returns none for a plan that touches neither patterns nor nodes. */
export async function readPlannedInstances(
  { store, clock }: { readonly store: Pick<Store, "listEndpoints">; readonly clock: Clock },
  plan: Plan,
  desired: ObjectSet,
): Promise<readonly PlannedInstances[]> {
  const isNodes = plan.changes.some(({ ref }) => ref.kind === "Node" || ref.kind === "NodeGroup");
  const changed = new Set(plan.changes.map(({ ref }) => (ref.kind === "Workload" ? qualifiedName(ref) : "")));
  const patterns = [...desired.values()].flatMap(({ object }): readonly Workload[] => {
    if (object.kind !== "Workload" || !isDiscovered(object)) return [];
    return isNodes || changed.has(qualifiedName(object.metadata)) ? [object] : [];
  });
  if (patterns.length === 0) return [];
  const { instances } = resolveInstances(desired, await store.listEndpoints());
  const byWorkload = Map.groupBy(instances, ({ workload }) => workload);
  return patterns.flatMap((object) => {
    const pattern = patternOf(object);
    if (pattern === null) return [];
    const workload = qualifiedName(object.metadata);
    const own = (byWorkload.get(workload) ?? []).filter(({ at }) => at !== null);
    const reportedAt = own.flatMap(({ at }) => at ?? []).sort()[0] ?? null;
    return [
      {
        workload,
        pattern: describePattern(pattern),
        instances: own.map(({ name }) => name),
        reportedAt,
        ageMs: reportedAt === null ? null : Math.max(0, clock.now() - Date.parse(reportedAt)),
      },
    ];
  });
}
