/** Membership, leadership and health: the declared nodes, the members and the live agents, side by side. */
import { isOverriding, type Override } from "../../model/override.js";
import type { Suspension } from "../../model/source-control.js";
import type { Revision } from "../../model/state.js";
import type { ShadowReport } from "../../model/shadow.js";
import type { Heartbeat, Member, NodeStatus, SourceStatus, StoreHealth } from "../../model/status.js";
import type { WithheldWorkload } from "../../model/withholding.js";
import { StoreError, type Store } from "../../interfaces/store.js";
import type { Clock } from "../../interfaces/system.js";
import { isUnderWay, releasedTo, type Rollout, type RolloutState } from "../../model/rollout.js";
import { wavesOf } from "../../plan/rollout/nodes.js";
import { upcomingWaves } from "../../plan/rollout/steps.js";
import { readRolloutNodes, RolloutDescriptions } from "../rollout/nodes.js";
import { NodeDescriptions } from "../../inventory/nodes.js";
import { describeDamage, describeStrays, readSound } from "./damage.js";
import { runsAs, whyAway } from "../policy/silent-agent.js";
import { listReceivers, type ReceiverStatus } from "./notifications.js";
import { OperationError } from "../../model/operation-error.js";
import { readSourceNow } from "../policy/git-state.js";
import { listPending, type PendingWorkload } from "../../model/pending.js";
import { isLabel } from "../../model/guards.js";
import { isHostAndPort } from "../../settings/types.js";

export interface ClusterNode {
  readonly id: string;
  readonly address: string;
  /** `none`: the node is no member. */
  readonly role: "leader" | "follower" | "none";
  /** `absent`: declared, but its agent was never seen; `left`: seen before, but no longer a member. */
  readonly state: "healthy" | "unhealthy" | "left" | "absent";
  /** Whether the head revision declares it. */
  readonly declared: boolean;
  readonly joinedAt: string | null;
  readonly lastSeen: string | null;
  /** Milliseconds since the last heartbeat. */
  readonly heartbeatAgeMs: number | null;
  readonly enforcedRevision: number | null;
  /** See NodeStatus. */
  readonly rulesetDigest: string | null;
  /** The revision that it must enforce: head, or during a rollout an earlier one; null without a head. */
  readonly released: number | null;
  /** Number of revisions between the enforced one and the one that it must enforce; null if it enforces none. */
  readonly lag: number | null;
  /** The wave of the rollout that it waits for, from 1; null if it waits for none. */
  readonly wave: number | null;
  /** What the revision that the node waits for would decide otherwise; null if it compares none. */
  readonly shadow: ShadowReport | null;
  /** Workloads for which the node does not enforce the revision that it follows. */
  readonly withheld: readonly WithheldWorkload[];
  /** Workloads of the node that do not exist yet, as its agent last saw them. */
  readonly pending: readonly PendingWorkload[];
  /** The last known problem of the node; null for none. */
  readonly message: string | null;
}

export interface ClusterStatus {
  readonly backend: string;
  readonly revision: number | null;
  /** The rollout of head; null if it went to all nodes at once. */
  readonly rollout: RolloutSummary | null;
  readonly leader: { readonly id: string; readonly address: string } | null;
  readonly nodes: readonly ClusterNode[];
  readonly source: SourceStatus | null;
  /** While it is in force, the leader commits nothing from the source. */
  readonly suspension: Suspension | null;
  /** Those in force. */
  readonly overrides: readonly Override[];
  /** Records that cannot be read, and are no node's own. A node's are in its message. */
  readonly damaged: readonly string[];
  /** The servers of the store; none if it is on this machine. */
  readonly servers: readonly StoreHealth[];
  /** Who is told what became of commits; none if nobody is. */
  readonly receivers: readonly ReceiverStatus[];
}

export interface RolloutSummary {
  readonly revision: number;
  readonly base: number;
  readonly state: RolloutState;
  /** The newest released wave, from 1; 0 before the first. */
  readonly wave: number;
  readonly waves: number;
  /** Why it failed, or is held. */
  readonly message: string | null;
}

/** How far head has come. */
export interface Progress {
  /** Nodes that enforce all of it. */
  readonly enforced: number;
  /** Nodes that head is not released to, or not any more, and that enforce all that they must. */
  readonly waiting: number;
  /** Nodes that should: all but those that have left. */
  readonly expected: number;
}

export function progressOf({ nodes, revision }: Pick<ClusterStatus, "nodes" | "revision">): Progress {
  const expected = nodes.filter(({ state }) => state !== "left");
  const done = expected.filter((node) => !isBehind(node));
  const waiting = done.filter(({ released }) => released !== revision).length;
  return { enforced: done.length - waiting, waiting, expected: expected.length };
}

/** Returns the status with those nodes alone that do not enforce all of head, or of what a rollout has them enforce. */
export function laggingOf<T extends Pick<ClusterStatus, "nodes">>(status: T): T {
  return { ...status, nodes: status.nodes.filter((node) => node.state !== "left" && isBehind(node)) };
}

function isBehind({ lag, withheld }: ClusterNode): boolean {
  return lag !== 0 || withheld.length > 0;
}

export interface ClusterDeps {
  readonly store: Store;
  readonly clock: Clock;
}

export async function readClusterStatus({ store, clock }: ClusterDeps): Promise<ClusterStatus> {
  const head = await store.readHead();
  const rollout = await readRolloutWaves(store);
  const [members, heartbeats, statuses, damaged, election, control, overrides, revision, servers, outbox] =
    await Promise.all([
      store.listMembers(),
      store.listHeartbeats(),
      store.listNodeStatus(),
      store.listDamaged(),
      readSound(store.readLeader()),
      readSound(store.readSourceControl()),
      readSound(store.readOverrides()),
      head === null ? null : store.readRevision(head),
      store.readHealth({ everyServer: true }),
      readSound(store.readOutbox()),
    ]);
  const leader = election.value;
  const suspension = control.value?.suspension ?? null;
  const source = await readSound(readSourceNow(store, revision, suspension));
  const declared = declaredNodes(revision);
  const isDescribed = await readDescriptions(store, revision);
  const memberById = new Map(members.map((member) => [member.id, member]));
  const heartbeatById = new Map(heartbeats.map((heartbeat) => [heartbeat.id, heartbeat]));
  const statusById = new Map(statuses.map((status) => [status.node, status]));
  const marred = damaged.flatMap(({ node }) => node ?? []);
  const ids = new Set([...declared, ...memberById.keys(), ...heartbeatById.keys(), ...statusById.keys(), ...marred]);
  const nodes = [...ids].sort().map((id) =>
    toNode(
      {
        id,
        isDeclared: declared.has(id) || isDescribed(id),
        member: memberById.get(id),
        heartbeat: heartbeatById.get(id),
        status: statusById.get(id),
        other: runsAs(statusById.get(id), statuses, heartbeats),
        damage: describeDamage(damaged, id),
      },
      { head, leader, now: clock.now(), rollout },
    ),
  );
  const leading =
    leader === null ? null : { id: leader, address: nodes.find(({ id }) => id === leader)?.address ?? "" };
  return {
    backend: store.backend,
    revision: head,
    rollout: rollout.summary,
    leader: leading,
    nodes,
    source: source.value,
    suspension,
    overrides: (overrides.value ?? []).filter((one) => isOverriding(one, clock.now())),
    damaged: [
      ...[election, control, overrides, source, outbox, rollout].flatMap(({ damage }) => damage ?? []),
      ...describeStrays(damaged),
    ],
    servers,
    receivers: listReceivers(outbox.value),
  };
}

function declaredNodes(revision: Revision | null): ReadonlySet<string> {
  return new Set((revision?.entries ?? []).filter(({ kind }) => kind === "Node").map(({ name }) => name));
}

/** Returns whether a NodeGroup describes a node. The state is read only if it has any. */
async function readDescriptions(store: Store, revision: Revision | null): Promise<(node: string) => boolean> {
  if (revision?.entries.some(({ kind }) => kind === "NodeGroup") !== true) return () => false;
  // Damage of the state is reported by its agents; this report is made without it.
  const state = await store.readState(revision.number).catch((error: unknown) => {
    if (error instanceof StoreError) return null;
    throw error;
  });
  const nodes = new NodeDescriptions(state?.objects ?? new Map());
  return (node) => !nodes.isEmpty && nodes.match(node) !== undefined;
}

interface RolloutWaves {
  readonly rollout: Rollout | null;
  readonly summary: RolloutSummary | null;
  /** The wave that each waiting node waits for, from 0. */
  readonly upcoming: ReadonlyMap<string, number>;
  readonly damage: string | null;
}

/** Damage of the record, or of a state, is reported in place of the waves. */
async function readRolloutWaves(store: Store): Promise<RolloutWaves> {
  const { value, damage } = await readSound(store.readRelease());
  const rollout = value?.rollout ?? null;
  const none = { rollout, summary: null, upcoming: new Map<string, number>(), damage };
  if (rollout === null) return none;
  const { revision, base, state, wave, message, plan } = rollout;
  const summary = { revision, base, state, message, wave: wave + 1, waves: wavesOf(plan).length };
  if (!isUnderWay(rollout)) return { ...none, summary };
  const descriptions = await RolloutDescriptions.read(store, rollout).catch((error: unknown) => {
    if (error instanceof StoreError) return null;
    throw error;
  });
  if (descriptions === null) return { ...none, summary };
  const nodes = await readRolloutNodes(store, descriptions);
  const upcoming = upcomingWaves(
    rollout,
    nodes.map((node) => ({ ...node, behindMs: 0 })),
  );
  return { ...none, summary, upcoming };
}

interface Known {
  readonly id: string;
  readonly isDeclared: boolean;
  readonly member: Member | undefined;
  readonly heartbeat: Heartbeat | undefined;
  readonly status: NodeStatus | undefined;
  /** See `runsAs`. */
  readonly other: string | null;
  /** See `describeDamage`. */
  readonly damage: string | null;
}

function toNode(
  known: Known,
  cluster: {
    readonly head: number | null;
    readonly leader: string | null;
    readonly now: number;
    readonly rollout: RolloutWaves;
  },
): ClusterNode {
  const { id, isDeclared, member, heartbeat, status } = known;
  const enforcedRevision = status?.enforcedRevision ?? null;
  const { rollout, upcoming } = cluster.rollout;
  const released = cluster.head === null ? null : releasedTo(rollout, cluster.head, id);
  const wave = upcoming.get(id);
  return {
    id,
    address: member?.address ?? heartbeat?.address ?? "",
    role: id === cluster.leader ? "leader" : member === undefined ? "none" : "follower",
    state: stateOf(known),
    declared: isDeclared,
    joinedAt: member?.joinedAt ?? null,
    lastSeen: heartbeat?.lastSeen ?? null,
    // Clocks of two machines differ: a heartbeat from the future has age 0.
    heartbeatAgeMs: heartbeat === undefined ? null : Math.max(0, cluster.now - Date.parse(heartbeat.lastSeen)),
    enforcedRevision,
    rulesetDigest: status?.rulesetDigest ?? null,
    released,
    // An agent of a version that knows no rollouts may be ahead.
    lag: released === null || enforcedRevision === null ? null : Math.max(0, released - enforcedRevision),
    wave: wave === undefined ? null : wave + 1,
    shadow: status?.shadow ?? null,
    withheld: status?.withheld?.workloads ?? [],
    pending: listPending(status?.subjects ?? []),
    message: [known.damage, problemOf(known)].filter((text) => text !== null).join("; ") || null,
  };
}

function stateOf({ member, heartbeat, status }: Known): ClusterNode["state"] {
  if (member === undefined) return heartbeat === undefined && status === undefined ? "absent" : "left";
  return heartbeat?.alive === true ? "healthy" : "unhealthy";
}

function problemOf({ member, heartbeat, status, other }: Known): string | null {
  const problem = status === undefined ? null : [...troubleOf(status), ...(status.warnings ?? [])].join("; ") || null;
  const isAlive = heartbeat?.alive === true;
  if (member === undefined)
    return isAlive
      ? "left, but its agent still runs: restart it to join again, or stop it"
      : "has not joined: its agent joins when it starts";
  if (isAlive) return problem;
  const silent = heartbeat === undefined ? "its agent has never run" : whyAway(other, null);
  return problem === null ? silent : `${silent}; its last message: ${problem}`;
}

function troubleOf(status: NodeStatus): readonly string[] {
  return status.state === "InSync" ? [] : [messageOf(status)];
}

/**
 * Returns the message of a status. With drift, the node's own message is about the last repair, not about the current
 * difference.
 */
function messageOf({ state, message, drift }: NodeStatus): string {
  const detail = drift[0]?.detail;
  return (state === "Drifted" ? (detail ?? message) : (message ?? detail)) ?? state;
}

export interface Joined {
  readonly member: Member;
  /** False if it was a member already, with this address. */
  readonly changed: boolean;
  readonly declared: boolean;
}

/**
 * Makes a node a member before its agent has ever run. An agent joins by itself when it starts.
 * @throws OperationError `usage`, `node-alive` if its agent runs under another address
 */
export async function joinCluster({ store, clock }: ClusterDeps, id: string, address: string): Promise<Joined> {
  if (!isLabel(id))
    throw new OperationError(
      "usage",
      `${JSON.stringify(id)} cannot be the name of a node; it must be a DNS label, such as web-1`,
    );
  if (!isHostAndPort(address))
    throw new OperationError("usage", `${JSON.stringify(address)} is not an address; write host:port or [IPv6]:port`);
  const [members, heartbeats, head] = await Promise.all([
    store.listMembers(),
    store.listHeartbeats(),
    store.readHead(),
  ]);
  const known = members.find((member) => member.id === id);
  const heartbeat = heartbeats.find((heartbeat) => heartbeat.id === id && heartbeat.alive);
  if (heartbeat !== undefined && heartbeat.address !== address) {
    throw new OperationError(
      "node-alive",
      `the agent of node ${id} is running with the address ${heartbeat.address}; change it there (--address), it joins by itself`,
    );
  }
  const member = { id, address, joinedAt: known?.joinedAt ?? new Date(clock.now()).toISOString() };
  const changed = known?.address !== address;
  if (changed) await store.joinMember(member);
  const revision = head === null ? null : await store.readRevision(head);
  const declared = declaredNodes(revision).has(id) || (await readDescriptions(store, revision))(id);
  return { member, changed, declared };
}

export interface Left {
  readonly id: string;
  readonly address: string;
  /** Whether its agent was running, and `force` was given. */
  readonly wasAlive: boolean;
}

/**
 * Removes a node's membership, heartbeat and status. Its kernel keeps the enforcement.
 * @throws OperationError `not-found`, `node-alive` if its agent runs and `force` is not given
 */
export async function leaveCluster(store: Store, id: string, force: boolean): Promise<Left> {
  const [members, heartbeats, statuses] = await Promise.all([
    store.listMembers(),
    store.listHeartbeats(),
    store.listNodeStatus(),
  ]);
  const member = members.find((known) => known.id === id);
  const heartbeat = heartbeats.find((known) => known.id === id);
  if (member === undefined && heartbeat === undefined && !statuses.some(({ node }) => node === id)) {
    // The member's record may be damaged: it is removed as well. An empty store is not created for that.
    if ((await store.readHead()) !== null && (await store.leaveMember(id))) return { id, address: "", wasAlive: false };
    const hint = members.length === 0 ? "no node has" : `these have: ${members.map((known) => known.id).join(", ")}`;
    throw new OperationError("not-found", `node ${id} has not joined; ${hint}`);
  }
  const wasAlive = heartbeat?.alive === true;
  if (wasAlive && !force) {
    throw new OperationError(
      "node-alive",
      `the agent of node ${id} still runs and would come back; stop it first, or use --force`,
    );
  }
  await store.leaveMember(id);
  return { id, address: member?.address ?? heartbeat?.address ?? "", wasAlive };
}
