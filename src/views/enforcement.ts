/** The enforcement in the kernel or in pf, and the enforcement that was removed. */
import type { InspectedMachine, InspectedNode, InspectedPf, Removed } from "../model/inspection.js";
import type { Style } from "./style.js";
import { renderTable } from "./table.js";
import { wrapWords } from "./wrap.js";

export function enforcementDocument({ nodes, pf }: InspectedMachine): object {
  return { formatVersion: 1, nodes, pf };
}

export function renderEnforcement({ nodes, pf }: InspectedMachine, style: Style): string {
  if (pf !== null) return renderPf(pf, style);
  if (nodes.length === 0) return "Nothing is enforced on this machine.";
  return nodes.map((node) => renderNode(node, style)).join("\n\n");
}

function renderPf(
  { anchor, node, enabled, reference, linked, rules, tables, packets }: InspectedPf,
  style: Style,
): string {
  if (rules.length === 0 && node === null) return "Nothing is enforced on this machine.";
  const flag = (isSo: boolean, yes: string, no: string): string => (isSo ? yes : style.warn(no));
  const state = [
    flag(enabled, "pf is enabled", "pf is not enabled"),
    flag(reference, "with a reference of ztap's", "without a reference of ztap's"),
    flag(
      linked,
      "its main ruleset evaluates it",
      "its main ruleset does not evaluate it: none of its rules is in force",
    ),
  ];
  return [
    style.line`${style.bold(`Node ${node ?? "unknown"}`)}  anchor ${anchor}, ${rules.length} rules and ${tables.length} tables; ${state.join(", ")}`,
    ...rules.map((rule) => style.line`  ${rule}`),
    "",
    renderTable(
      ["Label", "Packets"],
      packets.map(({ label, packets: count }) => [label, count]),
      style,
    ),
  ].join("\n");
}

function renderNode(node: InspectedNode, style: Style): string {
  const { addresses, ports } = node.entries.active;
  const hooks = new Map<string, { readonly cgroup: string; readonly names: string[] }>();
  for (const { workload, hook, cgroup } of node.links) {
    const row = hooks.get(workload) ?? { cgroup: cgroup ?? style.warn("cgroup is gone"), names: [] };
    row.names.push(cgroup === null ? `${hook} (detached)` : hook);
    hooks.set(workload, row);
  }
  const rows = [...hooks].map(([workload, { cgroup, names }]) => [workload, cgroup, names.sort().join(" ")]);
  return [
    style.line`${style.bold(`Node ${node.node}`)}  epoch ${node.epoch ?? "none"}, ABI ${node.abi ?? "unknown"}, ${addresses} address and ${ports} port entries in force`,
    rows.length === 0
      ? "No workload is attached."
      : renderTable([{ title: "Workload", isName: true }, "Cgroup", "Hooks"], rows, style),
    ...node.foreign.map(
      ({ cgroup, hook, programId }) => style.line`not ztap's: program ${programId} at ${hook} of ${cgroup}`,
    ),
    ...(node.newborns.patterns > 0
      ? [
          style.line`patterns of new cgroups: ${node.newborns.patterns}; ${node.newborns.waiting} new cgroups have no programs of their own yet`,
        ]
      : []),
    ...(node.sockets.found > 0
      ? [
          style.line`sockets of other cgroups in isolated workloads: ${node.sockets.found}, of which ${node.sockets.refused} are refused`,
        ]
      : []),
    ...node.delegated.map(
      ({ workload, cgroup }) => style.line`a user other than root can move ${workload}'s processes: by ${cgroup}`,
    ),
  ].join("\n");
}

/** Renders what will be open, before the question. */
export function renderRemovable(held: readonly Removed[], style: Style): string {
  const lines = held.map(({ node, workloads }) =>
    workloads.length === 0
      ? style.line`Node ${node}: no workload is covered; none will be opened.`
      : style.line`Node ${node}: ${style.warn("will be open")}: ${workloads.join(", ")}.`,
  );
  return lines.flatMap((line) => wrapWords(line, style.width, "  ")).join("\n");
}

export function removalDocument(removed: readonly Removed[]): object {
  return { formatVersion: 1, removed };
}

export function renderRemoval(removed: readonly Removed[], style: Style): string {
  if (removed.length === 0) return "There was nothing to remove.";
  return removed
    .map(
      ({ node, workloads }) =>
        style.line`${style.warn("Removed")} enforcement of node ${node}; open now: ${workloads.length === 0 ? "no workload" : workloads.join(", ")}`,
    )
    .join("\n");
}
