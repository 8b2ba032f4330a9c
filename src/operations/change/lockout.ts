/**
 * Checks before a commit whether the state would cut off an agent, an agent's access to its store or source, or an SSH
 * session in use on this machine. Each agent checks again before it enforces.
 */
import type { ObjectSet } from "../../model/state.js";
import type { ManagementAccess } from "../../model/management-access.js";
import { compile } from "../../policy/compile/compile.js";
import { clientsOf, findLockouts, holds } from "../../policy/lockout.js";
import type { ManagementAccessReader } from "../../interfaces/management-access.js";
import type { Store } from "../../interfaces/store.js";
import { OperationError } from "../../model/operation-error.js";

export interface LockoutDeps {
  readonly store: Store;
  /** Null if a lock-out is allowed. */
  readonly managementAccess: ManagementAccessReader | null;
  /** This machine's node, as its settings name it. */
  readonly node: string;
  /** This machine and its boot, which identifies the agents' statuses of this machine; null if that is not known. */
  readonly boot: string | null;
}

/** Returns one sentence for each management connection that the state would cut; none if a lock-out is allowed. */
export async function lockoutsOf(deps: LockoutDeps, objects: ObjectSet): Promise<readonly string[]> {
  const { managementAccess } = deps;
  if (managementAccess === null) return [];
  const found: string[] = [];
  const clients = clientsOf(objects);
  for (const [node, lines] of await managementAccessByNode(deps, managementAccess)) {
    if (!isConcerned(objects, node, lines)) continue;
    found.push(...findLockouts(compile(objects, node), lines, clients).map(({ message }) => message));
  }
  return found;
}

/**
 * Refuses a state that would lock out.
 * @throws OperationError `lockout`
 */
export async function refuseLockout(deps: LockoutDeps, objects: ObjectSet): Promise<void> {
  const found = await lockoutsOf(deps, objects);
  if (found.length === 0) return;
  throw new OperationError(
    "lockout",
    `this would lock out: ${found.join("; ")}. Give the workload a cgroup of its own or allow the session, or use --allow-lockout; nothing was changed`,
  );
}

async function managementAccessByNode(
  { store, node, boot }: LockoutDeps,
  reader: ManagementAccessReader,
): Promise<ReadonlyMap<string, ManagementAccess>> {
  const [statuses, heartbeats, sessions, servers] = await Promise.all([
    store.listNodeStatus(),
    store.listHeartbeats(),
    reader.sessions(),
    reader.servers(),
  ]);
  const alive = new Set(heartbeats.filter((heartbeat) => heartbeat.alive).map(({ id }) => id));
  const lines = new Map<string, ManagementAccess>([[node, { agent: null, sessions, servers }]]);
  for (const status of statuses) {
    const isHere = status.node === node || (boot !== null && status.boot === boot);
    const agent = alive.has(status.node) ? (status.agentCgroup ?? null) : null;
    // The last report of a dead agent may be out of date.
    const told = { agent, sessions: [], servers: alive.has(status.node) ? (status.servers ?? []) : [] };
    lines.set(status.node, isHere ? { agent, sessions, servers } : told);
  }
  return lines;
}

/** Compiling is only needed for the few nodes with a workload whose cgroup contains a management connection. */
function isConcerned(objects: ObjectSet, node: string, { agent, sessions, servers }: ManagementAccess): boolean {
  const inner = [...(agent === null ? [] : [agent]), ...[...sessions, ...servers].flatMap(({ cgroups }) => cgroups)];
  if (inner.length === 0) return false;
  return [...objects.values()].some(
    ({ object }) =>
      object.kind === "Workload" &&
      object.spec.node === node &&
      inner.some((cgroup) => holds(object.spec.cgroup ?? null, cgroup)),
  );
}
