/** `ztap plan`: compares the desired state with head. Changes nothing. */
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
 * Refuses a desired state without objects, as kubectl and terraform do: a folder that was mistaken for the repository
 * would delete every policy, and so open every workload; and with an empty store, nothing would be enforced.
 * @param location as the user named it
 * @throws OperationError `empty-source`
 */
export function refuseEmpty({ plan, desired }: Planned, location: string): void {
  if (desired.objects.size > 0) return;
  const effect =
    plan.changes.length === 0 ? "there is nothing to plan or apply" : "this would delete all objects of the store";
  throw new OperationError(
    "empty-source",
    `${location} has no objects, so that ${effect}; check the path; if that is intended, use --allow-empty`,
  );
}

/**
 * Plans a saved plan again, against the current head.
 * @throws OperationError `stale-plan`
 */
export async function replan(
  store: Store,
  saved: { readonly base: number | null; readonly desired: DesiredState },
): Promise<Planned> {
  const planned = await planDesired(store, saved.desired);
  if (planned.plan.base !== saved.base) throw stalePlan(saved.base, planned.plan.base);
  return planned;
}

/**
 * Largest number of listed connections. A first plan of a large state opens millions; more than this are only counted.
 */
const LISTED_CONNECTIONS = 10_000;

/**
 * Returns the connections that a plan opens and closes. Separate from the plan itself, since committing does not need
 * them.
 */
export function planConnectivity({ plan, desired, base }: Planned): ConnectivityDiff {
  if (plan.changes.length === 0) return NO_DIFFERENCE;
  return diffConnectivity(base?.objects ?? new Map<string, never>(), desired.objects, LISTED_CONNECTIONS);
}
