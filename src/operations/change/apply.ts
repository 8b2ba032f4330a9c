/** `ztap apply`: commits a plan as one revision, if head is still the one that the plan was made against. */
import type { Revision } from "../../model/state.js";
import type { Store } from "../../interfaces/store.js";
import type { Clock, Random } from "../../interfaces/system.js";
import type { Planned } from "./plan.js";
import { OperationError } from "../../model/operation-error.js";
import { rolloutAfter } from "../rollout/start.js";
import { requireOverride } from "./ownership.js";
import { stalePlan } from "./stale.js";

export interface ApplyOptions {
  /** The operator, `user@host`. */
  readonly author: string;
  readonly node: string;
  /** The operator's reason; empty for none. */
  readonly reason: string;
  /** Whether to commit over the state of a polled source. */
  readonly override: boolean;
}

/**
 * Commits the plan. Returns null if there was nothing to commit.
 * @throws OperationError `stale-plan`, `override-needed`
 */
export async function applyPlan(
  deps: { readonly store: Store; readonly clock: Clock; readonly random: Random },
  { plan, desired }: Pick<Planned, "plan" | "desired">,
  options: ApplyOptions,
): Promise<Revision | null> {
  const { store, clock, random } = deps;
  if (plan.changes.length === 0) return null;
  await requireOverride(store, desired.source, options.override);
  const ids = { commitId: random.id(), time: new Date(clock.now()).toISOString() };
  const base = plan.base === null ? null : await store.readRevision(plan.base);
  const outcome = await store.commit(
    {
      ...ids,
      rollout: await rolloutAfter(store, base, ids),
      objects: [...desired.objects.values()],
      source: desired.source,
      node: options.node,
      author: options.author,
      reason: options.reason === "" ? "apply" : `apply: ${options.reason}`,
    },
    { expectHead: plan.base, fence: null },
  );
  switch (outcome.outcome) {
    case "committed":
      return outcome.revision;
    case "stale-head":
      throw stalePlan(plan.base, outcome.head);
    case "suspended":
    case "fenced":
      throw new OperationError("stale-plan", "the store refused the commit; plan again");
  }
}
