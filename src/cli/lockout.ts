/** The check for a lock-out in the commands that commit. */
import type { ObjectSet } from "../model/state.js";
import { refuseLockout } from "../operations/change/lockout.js";
import { lockoutNotices, type Notice } from "../operations/change/notices.js";
import type { Settings } from "../settings/settings.js";
import type { Store } from "../interfaces/store.js";
import { openManagementAccess } from "../wiring/host.js";

/**
 * Refuses a lock-out. Only the flag of this command permits one; the setting `allowLockout` is for the agent of this
 * machine.
 * @returns notices of the lock-outs that other nodes report, and of reasons why this machine may have overlooked one
 * @throws OperationError `lockout` if the state would cut off an agent, or a session in use on this machine
 */
export async function requireWayIn(
  settings: Settings,
  flags: { readonly "allow-lockout": boolean },
  store: Store,
  objects: ObjectSet,
): Promise<readonly Notice[]> {
  const managementAccess = openManagementAccess({ ...settings, allowLockout: flags["allow-lockout"] });
  return lockoutNotices(await refuseLockout({ store, managementAccess, node: settings.node }, objects));
}
