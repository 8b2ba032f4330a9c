/** The result of an apply. */
import type { Revision } from "../model/state.js";
import type { ConnectivityDiff } from "../plan/connectivity/diff.js";
import type { Plan } from "../plan/plan.js";
import type { PlannedInstances } from "../operations/workload/planned.js";
import { planDocument } from "./plan.js";
import type { Style } from "./style.js";

export function applyDocument(
  plan: Plan,
  connectivity: ConnectivityDiff,
  revision: Revision | null,
  instances: readonly PlannedInstances[],
): object {
  const committed =
    revision === null
      ? null
      : { number: revision.number, time: revision.time, author: revision.author, commit: revision.source.commit };
  return { ...planDocument(plan, connectivity, instances), revision: committed };
}

export function renderApplied(revision: Revision | null, style: Style): string {
  if (revision === null) return "Nothing was committed.";
  const { commit: id, dirty } = revision.source;
  const commit =
    id === null ? "" : ` from commit ${id.slice(0, 12)}${dirty ? " with changes that it does not hold" : ""}`;
  return style.line`${style.good("Committed")} revision ${revision.number}${commit}.`;
}
