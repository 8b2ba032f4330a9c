/** The question of a lock-out, as `plan` and `apply` ask it. */
import type { Planned } from "../operations/plan.js";
import { refuseLockout } from "../operations/lockout.js";
import type { Settings } from "../operations/settings.js";
import type { Store } from "../ports/store.js";
import { openLifelines, readBootId } from "../wiring.js";

/** @throws OperationError `lockout` where what the plan changes would cut an agent, or a session that is in use here */
export async function requireWayIn(settings: Settings, store: Store, { plan, desired }: Planned): Promise<void> {
  if (plan.changes.length === 0) return;
  const lifelines = openLifelines(settings.allowLockout);
  await refuseLockout({ store, lifelines, node: settings.node, boot: await readBootId() }, desired.objects);
}
