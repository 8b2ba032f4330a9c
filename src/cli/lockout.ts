/** The question of a lock-out, as the commands that commit ask it. */
import type { ObjectSet } from "../model/state.js";
import { refuseLockout } from "../operations/change/lockout.js";
import type { Settings } from "../settings/settings.js";
import type { Store } from "../interfaces/store.js";
import { openManagementAccess, readBootId } from "../wiring/host.js";

/**
 * Only the flag of this command permits a lock-out. The setting `allowLockout` is for the agent of this machine.
 * @throws OperationError `lockout` where the state would cut an agent, or a session that is in use here
 */
export async function requireWayIn(
  settings: Settings,
  flags: { readonly "allow-lockout": boolean },
  store: Store,
  objects: ObjectSet,
): Promise<void> {
  const managementAccess = openManagementAccess({ ...settings, allowLockout: flags["allow-lockout"] });
  await refuseLockout({ store, managementAccess, node: settings.node, boot: await readBootId() }, objects);
}
