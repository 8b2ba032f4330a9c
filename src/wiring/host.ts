/** Wiring of the host: its clock and randomness, its boot, its processes, and the connections that manage it. */
import { systemClock, systemRandom } from "../adapters/system/clock.js";
import { ProcManagementAccess } from "../adapters/system/management-access.js";
import { TcpReachability } from "../adapters/system/reachability.js";
import { remoteEndpoint } from "../adapters/git/endpoint.js";
import { controlEndpoints, type ControlSettings } from "../settings/control-endpoints.js";
import type { Settings } from "../settings/settings.js";
import type { Reachability } from "../interfaces/reachability.js";
import type { ManagementAccessReader } from "../interfaces/management-access.js";

export { systemClock, systemRandom };

/**
 * Opens the reader of this machine's management access; null if a lock-out is allowed, or the machine cannot enforce.
 * Without settings (a program's own store) the control endpoints of other agents are not known.
 */
export function openManagementAccess({
  allowLockout,
  ...where
}: Pick<Settings, "allowLockout"> & ControlSettings): ManagementAccessReader | null {
  return allowLockout || process.platform !== "linux"
    ? null
    : new ProcManagementAccess(controlEndpoints(where, remoteEndpoint), systemClock);
}

/** Opens what tries the connections that an agent with these settings needs. */
export function openReachability(settings: ControlSettings): Reachability {
  return new TcpReachability(controlEndpoints(settings, remoteEndpoint));
}

/** Returns the identity of this boot of this machine, as in its agent's status. */
export async function readBootId(): Promise<string | null> {
  const { bootId } = await import("../adapters/system/process-identity.js");
  return bootId();
}

/**
 * Returns the identity of this process as a writer that is not an agent. It may write at the same time as an agent or
 * an election in the same process.
 */
export async function describeWriter(): Promise<string> {
  const { processIdentity: describeSelf } = await import("../adapters/system/process-identity.js");
  return `${describeSelf()}/${systemRandom.id()}`;
}

/** Returns whether the agent of a node runs on this machine; null if that is not known. */
export async function isAgentHere({ pinRoot }: Settings, node: string): Promise<boolean | null> {
  if (process.platform !== "linux") return null;
  const { isNodeLocked } = await import("../adapters/ebpf/upgrade/is-node-locked.js");
  return isNodeLocked(pinRoot, node);
}
