/** Membership, leadership and health, from the store alone. */
import type { NodeStatus, SourceStatus } from "../model/status.js";
import type { Store } from "../ports/store.js";

export interface ClusterNode {
  readonly id: string;
  readonly address: string;
  readonly role: "leader" | "follower";
  /** `left`: declared in the desired state and not joined, or no longer. */
  readonly state: "healthy" | "unhealthy" | "left";
  readonly joinedAt: string | null;
  readonly lastSeen: string | null;
  readonly enforcedRevision: number | null;
  /** Revisions between head and what it enforces; null where it enforces nothing. */
  readonly lag: number | null;
  readonly message: string | null;
}

export interface ClusterStatus {
  readonly backend: string;
  readonly revision: number | null;
  readonly leader: { readonly id: string; readonly address: string } | null;
  readonly nodes: readonly ClusterNode[];
  readonly source: SourceStatus | null;
}

export async function readClusterStatus(store: Store): Promise<ClusterStatus> {
  const head = await store.readHead();
  const [members, heartbeats, statuses, leader, source, revision] = await Promise.all([
    store.listMembers(),
    store.listHeartbeats(),
    store.listNodeStatus(),
    store.readLeader(),
    store.readSourceStatus(),
    head === null ? null : store.readRevision(head),
  ]);
  const memberById = new Map(members.map((member) => [member.id, member]));
  const beatById = new Map(heartbeats.map((beat) => [beat.id, beat]));
  const statusById = new Map(statuses.map((status) => [status.node, status]));
  const declared = (revision?.entries ?? []).filter(({ kind }) => kind === "Node").map(({ name }) => name);
  const nodes = [...new Set([...declared, ...memberById.keys()])].sort().map((id): ClusterNode => {
    const member = memberById.get(id);
    const beat = beatById.get(id);
    const status = statusById.get(id);
    const enforcedRevision = status?.enforcedRevision ?? null;
    return {
      id,
      address: member?.address ?? "",
      role: id === leader ? "leader" : "follower",
      state: member === undefined ? "left" : beat?.alive === true ? "healthy" : "unhealthy",
      joinedAt: member?.joinedAt ?? null,
      lastSeen: beat?.lastSeen ?? null,
      enforcedRevision,
      lag: head === null || enforcedRevision === null ? null : head - enforcedRevision,
      message: status === undefined ? (member === undefined ? "never joined" : null) : messageOf(status),
    };
  });
  const leading = leader === null ? null : { id: leader, address: memberById.get(leader)?.address ?? "" };
  return { backend: store.backend, revision: head, leader: leading, nodes, source };
}

/** What a node says beside InSync is what it healed, which may be long ago. */
function messageOf({ state, message, drift }: NodeStatus): string | null {
  if (state === "InSync") return null;
  return state === "Drifted" ? (drift[0]?.detail ?? message) : message;
}
