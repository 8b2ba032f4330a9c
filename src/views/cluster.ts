/** Membership and health, as text or as documents. */
import { printableLine } from "../model/printable.js";
import type { ClusterNode, ClusterStatus } from "../operations/cluster.js";
import type { Style } from "./style.js";
import { renderTable } from "./table.js";

export function clusterStatusDocument(status: ClusterStatus): object {
  return { formatVersion: 1, ...status };
}

export function clusterListDocument(status: ClusterStatus): object {
  return { formatVersion: 1, nodes: status.nodes };
}

export function renderClusterStatus(status: ClusterStatus, style: Style): string {
  const { source, leader } = status;
  const paintSource = { Synced: style.good, Rejected: style.bad, Unreachable: style.bad, Held: style.warn };
  const lines = [
    `Store     ${status.backend}, ${status.revision === null ? "no revision yet" : `revision ${status.revision}`}`,
    `Leader    ${leader === null ? style.warn("none") : `${leader.id} (${leader.address})`}`,
    `Source    ${source === null ? "none is polled" : printableLine(source.location)}`,
  ];
  if (source !== null) {
    const commit = source.observedCommit?.slice(0, 12) ?? "-";
    lines.push(`          ${paintSource[source.state](source.state)} at ${commit}, checked ${source.checkedAt}`);
    if (source.message !== null) lines.push(`          ${printableLine(source.message)}`);
    for (const { code, file, line, column, message } of source.diagnostics) {
      lines.push(`          ${printableLine(file)}:${line}:${column} ${style.bad(code)} ${printableLine(message)}`);
    }
  }
  return [...lines, "", renderClusterList(status, style)].join("\n");
}

export function renderClusterList({ nodes }: Pick<ClusterStatus, "nodes">, style: Style): string {
  if (nodes.length === 0) return "No nodes: none is declared, and no agent has joined.";
  return renderTable(
    ["Node", "Address", "Role", "State", "Enforced", "Lag", "Last Seen", "Message"],
    nodes.map((node) => toRow(node, style)),
    style,
  );
}

function toRow(node: ClusterNode, style: Style): readonly string[] {
  const paint = { healthy: style.good, unhealthy: style.bad, left: style.dim }[node.state];
  return [
    node.id,
    node.address === "" ? "-" : printableLine(node.address),
    node.role,
    paint(node.state),
    node.enforcedRevision === null ? "-" : String(node.enforcedRevision),
    node.lag === null ? "-" : String(node.lag),
    node.lastSeen ?? "never",
    printableLine(node.message ?? ""),
  ];
}
