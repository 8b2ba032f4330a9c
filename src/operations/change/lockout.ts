/**
 * Checks before a commit whether the state would cut off this machine's agent, an agent's access to its store or source,
 * or an SSH session in use on this machine. Each agent checks again before it enforces.
 */
import type { ObjectSet } from "../../model/state.js";
import type { ManagementAccess } from "../../model/management-access.js";
import { placeReported } from "../../inventory/place.js";
import { compile } from "../../policy/compile/compile.js";
import { holds } from "../../policy/holds.js";
import { clientsOf, INCOMPLETE_SEARCH, listLockouts } from "../../policy/lockout.js";
import type { ManagementAccessReader } from "../../interfaces/management-access.js";
import type { Store } from "../../interfaces/store.js";
import { OperationError } from "../../model/operation-error.js";

export interface LockoutDeps {
  readonly store: Store;
  /** Null if a lock-out is allowed. */
  readonly managementAccess: ManagementAccessReader | null;
  /** This machine's node, as its settings name it. */
  readonly node: string;
  /** This process's own cgroup, if it is the node's agent; otherwise the agent's report counts. */
  readonly agent?: string | null;
}

/** Sentences, one for each management connection that a state would cut. */
export interface Lockouts {
  /** On this machine, as it sees itself: a reason to refuse the commit. */
  readonly own: readonly string[];
  /**
   * On other nodes, by their reports. A stolen credential of a node is enough to write its report, so that it holds back no
   * commit: that node's own agent withholds the workload that would cut instead.
   */
  readonly reported: readonly string[];
  /** Reasons why this machine may have a management connection that was not seen. */
  readonly warnings: readonly string[];
}

/** Returns no lock-out if they are allowed. */
export async function lockoutsOf(deps: LockoutDeps, objects: ObjectSet): Promise<Lockouts> {
  const { managementAccess, node } = deps;
  if (managementAccess === null) return { own: [], reported: [], warnings: [] };
  const [own, reports] = await Promise.all([ownAccess(deps, managementAccess), reportedAccess(deps)]);
  const endpoints = await deps.store.listEndpoints();
  const placed = placeReported(objects, endpoints, null);
  const ownState = placeReported(objects, endpoints, node);
  const needs = hasHost(ownState, node) ? await managementAccess.needs() : [];
  return {
    own: find(ownState, node, { ...own.access, needs }),
    warnings: own.warnings,
    reported: reports.flatMap(([other, access]) =>
      find(placed, other, access).map((message) => `node ${other}: ${message}`),
    ),
  };
}

/** Returns the lock-outs on this machine alone: what other nodes report must not cost a leader time. */
export async function ownLockouts(deps: LockoutDeps, objects: ObjectSet): Promise<readonly string[]> {
  const { managementAccess, node } = deps;
  if (managementAccess === null) return [];
  const { access } = await ownAccess(deps, managementAccess);
  // Without a management connection there is nothing to cut.
  if (innerCgroups(access).length === 0) return [];
  return find(placeReported(objects, await deps.store.listEndpoints(), node), node, access);
}

function find(objects: ObjectSet, of: string, access: ManagementAccess): readonly string[] {
  return isConcerned(objects, of, access) ? listLockouts(compile(objects, of), access, clientsOf(objects)) : [];
}

/**
 * Refuses a state that would lock out on this machine.
 * @returns the lock-outs that other nodes report, and what may have been overlooked here, for warnings
 * @throws OperationError `lockout`
 */
export async function refuseLockout(deps: LockoutDeps, objects: ObjectSet): Promise<Omit<Lockouts, "own">> {
  const { own, ...others } = await lockoutsOf(deps, objects);
  if (own.length === 0) return others;
  throw new OperationError(
    "lockout",
    `this would lock out: ${own.join("; ")}. Give the workload a cgroup of its own or allow the session, or use --allow-lockout; nothing was changed`,
  );
}

async function ownAccess(
  { store, node, agent }: LockoutDeps,
  reader: ManagementAccessReader,
): Promise<{ readonly access: ManagementAccess; readonly warnings: readonly string[] }> {
  const [sessions, servers, alive, statuses] = await Promise.all([
    reader.sessions(),
    reader.servers(),
    aliveNodes(store),
    store.listNodeStatus(),
  ]);
  const report = alive.has(node) ? statuses.find((status) => status.node === node) : undefined;
  const problem = reader.problem();
  return {
    access: {
      agent: agent === undefined ? (report?.agentCgroup ?? null) : agent,
      sessions: sessions.items,
      servers: servers.items,
    },
    warnings: [
      ...(problem === null ? [] : [problem]),
      ...(sessions.isComplete && servers.isComplete ? [] : [INCOMPLETE_SEARCH]),
    ],
  };
}

/** The last report of a dead agent may be out of date. */
async function reportedAccess({ store, node }: LockoutDeps): Promise<readonly (readonly [string, ManagementAccess])[]> {
  const alive = await aliveNodes(store);
  return (await store.listNodeStatus())
    .filter((status) => status.node !== node && alive.has(status.node))
    .map(({ node: other, agentCgroup = null, servers = [] }) => [other, { agent: agentCgroup, sessions: [], servers }]);
}

async function aliveNodes(store: Store): Promise<ReadonlySet<string>> {
  return new Set((await store.listHeartbeats()).filter(({ alive }) => alive).map(({ id }) => id));
}

/** Compiling is only needed for the nodes with a workload whose cgroup contains a management connection, or which is the host. */
function isConcerned(objects: ObjectSet, node: string, access: ManagementAccess): boolean {
  const inner = innerCgroups(access);
  if (hasHost(objects, node)) return true;
  if (inner.length === 0) return false;
  return [...objects.values()].some(
    ({ object }) =>
      object.kind === "Workload" &&
      object.spec.node === node &&
      inner.some((cgroup) => holds(object.spec.cgroup ?? null, cgroup)),
  );
}

/** Returns whether a workload is the host itself: it has what no other workload has. */
function hasHost(objects: ObjectSet, node: string): boolean {
  return [...objects.values()].some(
    ({ object: { kind, spec } }) =>
      kind === "Workload" && spec.node === node && spec.process !== undefined && "host" in spec.process,
  );
}

function innerCgroups({ agent, sessions, servers }: ManagementAccess): readonly string[] {
  return [...(agent === null ? [] : [agent]), ...[...sessions, ...servers].flatMap(({ cgroups }) => cgroups)];
}
