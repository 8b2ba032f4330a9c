/**
 * Leadership for one commit by a process that is no agent. Such a process acts as a node:
 *  - another node leads: refused, naming it;
 *  - this node's agent leads: the write goes under that agent's fence, which a change of leader ends;
 *  - nobody leads: this process does, for as long as the write takes.
 */
import type { CommitOutcome, Fence, Store } from "../../interfaces/store.js";
import { OperationError } from "../../model/operation-error.js";

export interface LeaderCandidate {
  readonly node: string;
  /** Names this very process, and no agent. */
  readonly holder: string;
  /** Names the boot of the machine that it runs on, as an agent's status does; absent or null where that is not known. */
  readonly boot?: string | null;
}

/** Longer than a commit of a large state takes; shorter than anyone would wait after a crash. */
const LEASE_MS = 10_000;

/** @throws OperationError `not-leader` */
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
    // This node's agent, or another command of its, was quicker: its fence can be read now.
    return { outcome: "fenced", leader };
  }
  try {
    return await write(fence);
  } finally {
    // The lease runs out by itself; what was written is written.
    await store.resign(holder).catch(() => undefined);
  }
}

/** @throws OperationError `not-leader` where another node leads */
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
