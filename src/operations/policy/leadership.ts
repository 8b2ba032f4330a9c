/**
 * Leadership for one commit by a process that is not an agent. Such a process acts as a node:
 *  - another node leads: the write is refused, with the leader's name;
 *  - this node's agent leads: the write uses that agent's fence, which a change of leader ends;
 *  - no node leads: this process leads for the duration of the write.
 */
import type { CommitOutcome, Fence, Store } from "../../interfaces/store.js";
import { OperationError } from "../../model/operation-error.js";

export interface LeaderCandidate {
  readonly node: string;
  /** Identity of this process, different from every agent's. */
  readonly holder: string;
  /** Identity of the machine's boot, as in an agent's status; absent or null if that is not known. */
  readonly boot?: string | null;
}

/** Longer than the commit of a large state takes, but short enough to wait for after a crash. */
const LEASE_MS = 10_000;

/**
 * Runs a write under leadership.
 * @throws OperationError `not-leader`
 */
export async function withLeadership(
  store: Store,
  candidate: LeaderCandidate,
  write: (fence: Fence) => Promise<CommitOutcome>,
): Promise<CommitOutcome> {
  const { node, holder } = candidate;
  const current = await store.readFence();
  if (current !== null) {
    if (current.leader !== node) throw await notLeader(store, candidate, current.leader);
    return write(current);
  }
  const { fence, leader } = await store.campaign({ id: node, holder }, LEASE_MS);
  if (fence === null) {
    if (leader !== null && leader !== node) throw await notLeader(store, candidate, leader);
    // This node's agent, or another command of it, was quicker: its fence can be read now.
    return { outcome: "fenced", leader };
  }
  try {
    return await write(fence);
  } finally {
    // On failure the lease expires by itself; the write has succeeded already.
    await store.resign(holder).catch(() => undefined);
  }
}

/**
 * Refuses if another node leads.
 * @throws OperationError `not-leader`
 */
export async function requireLeadership(store: Store, candidate: LeaderCandidate): Promise<void> {
  const leader = await store.readLeader();
  if (leader !== null && leader !== candidate.node) throw await notLeader(store, candidate, leader);
}

async function notLeader(
  store: Store,
  { node, boot = null }: LeaderCandidate,
  leader: string,
): Promise<OperationError> {
  const known = [...(await store.listMembers()), ...(await store.listHeartbeats())].find(({ id }) => id === leader);
  const where = known === undefined ? leader : `${leader} (${known.address})`;
  const isHere =
    boot !== null && (await store.listNodeStatus()).some((status) => status.node === leader && status.boot === boot);
  const advice = isHere ? `its agent runs on this machine: give --node ${leader}` : "run this there";
  return new OperationError("not-leader", `node ${node} does not lead, ${where} does: ${advice}; nothing was changed`);
}
