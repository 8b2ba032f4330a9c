/** Explains why a node's agent does not report, as far as it is known here. Pure. */
import type { Heartbeat, NodeStatus } from "../../model/status.js";

/**
 * Returns the name under which another agent runs on the node's own machine, in the boot that the node reported from;
 * null if there is none, or if it is not known.
 */
export function runsAs(
  status: Pick<NodeStatus, "node" | "boot"> | null | undefined,
  statuses: readonly NodeStatus[],
  heartbeats: readonly Heartbeat[],
): string | null {
  if (status?.boot === undefined) return null;
  const alive = new Set(heartbeats.filter(({ alive }) => alive).map(({ id }) => id));
  const other = statuses.find(({ node, boot }) => node !== status.node && boot === status.boot && alive.has(node));
  return other?.node ?? null;
}

/**
 * Returns the explanation.
 * @param other see `runsAs`
 * @param isHere whether an agent of the node holds its enforcement on this machine; null if that is not known
 */
export function whyAway(other: string | null, isHere: boolean | null): string {
  if (isHere === true) return "the agent runs here, and does not reach the store";
  const away = isHere === false ? "the agent is not running" : "the agent is not running, or cannot reach the store";
  return other === null ? away : `${away} (on its machine an agent runs as node ${other})`;
}
