/** Wiring of the host: its clock and randomness, its boot, its processes, and the connections that manage it. */
import { systemClock, systemRandom } from "../adapters/system/clock.js";
import { ProcManagementAccess } from "../adapters/system/management-access.js";
import { remoteEndpoint } from "../adapters/git/endpoint.js";
import { controlEndpoints, type ControlSettings } from "../settings/control-endpoints.js";
import type { Settings } from "../settings/settings.js";
import type { ManagementAccessReader } from "../interfaces/management-access.js";

export { systemClock, systemRandom };

/**
 * What this machine is ruled through; null where it may be cut, or cannot be enforced anyway. Without settings (a
 * program's own store) nothing is known of where other agents reach theirs.
 */
export function openManagementAccess({
  allowLockout,
  ...where
}: Pick<Settings, "allowLockout"> & ControlSettings): ManagementAccessReader | null {
  return allowLockout || process.platform !== "linux"
    ? null
    : new ProcManagementAccess(controlEndpoints(where, remoteEndpoint));
}

/** Names this boot of this machine, as its agent's status does. */
export async function readBootId(): Promise<string | null> {
  const { bootId } = await import("../adapters/system/process-identity.js");
  return bootId();
}

/** Names this process as one that writes and is no agent. It may write beside an agent or an election in the same process. */
export async function describeWriter(): Promise<string> {
  const { processIdentity: describeSelf } = await import("../adapters/system/process-identity.js");
  return `${describeSelf()}/${systemRandom.id()}`;
}

/** Whether the agent of a node runs on this machine; null where that cannot be told. */
export async function isAgentHere({ pinRoot }: Settings, node: string): Promise<boolean | null> {
  if (process.platform !== "linux") return null;
  const { isNodeLocked } = await import("../adapters/ebpf/upgrade/is-node-locked.js");
  return isNodeLocked(pinRoot, node);
}
