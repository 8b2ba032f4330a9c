/** `ztap plan`: desired state against head. Changes nothing. */
import type { CommittedState, DesiredState } from "../../model/state.js";
import type { ConnectivityDiff } from "../../plan/connectivity/diff.js";
import { diffConnectivity, NO_DIFFERENCE } from "../../plan/connectivity/diff.js";
import type { Plan } from "../../plan/plan.js";
import { isUnchanged, planChanges } from "../../plan/plan.js";
import type { Store } from "../../interfaces/store.js";
import { OperationError } from "../../model/operation-error.js";
import { stalePlan } from "./stale.js";

export interface Planned {
  readonly plan: Plan;
  readonly desired: DesiredState;
  readonly base: Pick<CommittedState, "objects"> | null;
}

export async function planDesired(store: Store, desired: DesiredState): Promise<Planned> {
  const head = await store.readHead();
  const revision = head === null ? null : await store.readRevision(head);
  if (revision !== null && isUnchanged(desired, revision)) {
    const base = { revision, objects: desired.objects };
    return { plan: planChanges(desired, base), desired, base };
  }
  const base = head === null ? null : await store.readState(head);
  return { plan: planChanges(desired, base), desired, base };
}

/**
 * A folder that was mistaken for the repository would otherwise delete every policy, and so open every workload.
 * @param location as the user named it
 * @throws OperationError `empty-source`
 */
export function refuseEmpty({ plan, desired }: Planned, location: string): void {
  if (desired.objects.size > 0 || plan.changes.length === 0) return;
  throw new OperationError(
    "empty-source",
    `${location} holds no object at all, and this would delete all that there are; if that is meant, use --allow-empty`,
  );
}

/** A saved plan against head as it is now. @throws OperationError `stale-plan` */
export async function replan(
  store: Store,
  saved: { readonly base: number | null; readonly desired: DesiredState },
): Promise<Planned> {
  const planned = await planDesired(store, saved.desired);
  if (planned.plan.base !== saved.base) throw stalePlan(saved.base, planned.plan.base);
  return planned;
}

/** A first plan of a large state opens millions of connections: more than this are counted, and not spelled out. */
const LISTED_CONNECTIONS = 10_000;

/** The connections that a plan opens and closes. Apart from the plan itself, for whoever only commits it needs none. */
export function planConnectivity({ plan, desired, base }: Planned): ConnectivityDiff {
  if (plan.changes.length === 0) return NO_DIFFERENCE;
  return diffConnectivity(base?.objects ?? new Map<string, never>(), desired.objects, LISTED_CONNECTIONS);
}
