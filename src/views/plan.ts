/** A plan as text for people, or as a JSON document. */
import { qualifiedName } from "../model/state.js";
import type { ConnectivityDiff } from "../plan/connectivity/diff.js";
import type { Change, Plan } from "../plan/plan.js";
import type { ConnectionGroup } from "../plan/connectivity/groups.js";
import { changeLines, countConnections, describeBase, describeCauses, notComputed, SIGNS } from "./changes.js";
import type { PlannedInstances } from "../operations/workload/planned.js";
import { describePorts } from "./connectivity.js";
import type { Style } from "./style.js";
import { renderTable } from "./table.js";
import { describePlanned } from "./workloads.js";

/** The number of connections of each kind in a text; the document has more. */
const SHOWN_CONNECTIONS = 20;

/** @param instances of the patterns that it touches; null without a store, which has the reports */
export function planDocument(
  plan: Plan,
  { opened, closed, summary, unenforced, unknown }: ConnectivityDiff,
  instances: readonly PlannedInstances[] | null = null,
): object {
  return {
    formatVersion: 1,
    base: { revision: plan.base, commit: plan.against?.commit ?? null },
    source: plan.source,
    changes: plan.changes.map(({ action, ref, before, after, position }) => ({
      action,
      ...ref,
      before,
      after,
      position,
    })),
    summary: plan.summary,
    connectivity: { opened, closed, summary, unenforced, unknown },
    instances,
  };
}

export function renderPlan(
  plan: Plan,
  connectivity: ConnectivityDiff,
  style: Style,
  instances: readonly PlannedInstances[] = [],
): string {
  const blocks = plan.changes.map((change) => renderChange(change, style));
  return [
    ...blocks,
    ...renderConnectivity(plan, connectivity, style),
    ...renderInstances(instances, style),
    ...renderUnenforced(connectivity, style),
    renderSummary(plan, style),
  ].join("\n");
}

function renderInstances(instances: readonly PlannedInstances[], style: Style): readonly string[] {
  if (instances.length === 0) return [];
  const lines = describePlanned(instances.slice(0, SHOWN_CONNECTIONS)).map((line) => style.line`    ${line}`);
  const rest = instances.length - SHOWN_CONNECTIONS;
  const more = rest > 0 ? [`    … and ${rest} more workloads`] : [];
  return [style.line`${style.bold("Instances,")} as last reported:`, ...lines, ...more, ""];
}

function renderUnenforced({ unenforced }: ConnectivityDiff, style: Style): readonly string[] {
  if (unenforced.length === 0) return [];
  return [style.bad(style.line`No longer enforced: ${unenforced.join(", ")}`), ""];
}

/** Returns the plan in numbers, for one that is too long to read. */
export function renderPlanSummary(plan: Plan, connectivity: ConnectivityDiff, style: Style): string {
  const { unknown, summary, unenforced } = connectivity;
  const counts = new Map<
    string,
    { readonly kind: string; readonly namespace: string } & Record<Change["action"], number>
  >();
  for (const { action, ref } of plan.changes) {
    const namespace = ref.namespace ?? "-";
    const key = `${ref.kind} ${namespace}`;
    const row = counts.get(key) ?? { kind: ref.kind, namespace, create: 0, update: 0, delete: 0 };
    counts.set(key, { ...row, [action]: row[action] + 1 });
  }
  const rows = [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
  const cells = rows.map((row) => [
    row.kind,
    row.namespace,
    ...(["create", "update", "delete"] as const).map((action) =>
      row[action] === 0 ? "-" : `${SIGNS[action]}${row[action]}`,
    ),
  ]);
  if (rows.length === 0) return renderSummary(plan, style);
  return [
    renderTable(["Kind", "Namespace", "Create", "Update", "Delete"], cells, style),
    "",
    unknown === null
      ? style.line`${style.bold("Connections:")} ${summary.opened} to open, ${summary.closed} to close.`
      : style.warn(notComputed(unknown)),
    ...(unenforced.length === 0
      ? []
      : [
          style.bad(
            `No longer enforced: ${unenforced.length === 1 ? "1 workload" : `${unenforced.length} workloads`}.`,
          ),
        ]),
    renderSummary(plan, style),
  ].join("\n");
}

function renderConnectivity(plan: Plan, connectivity: ConnectivityDiff, style: Style): readonly string[] {
  if (plan.changes.length === 0) return [];
  if (connectivity.unknown !== null) return [style.warn(notComputed(connectivity.unknown)), ""];
  const { opened, closed } = connectivity.summary;
  if (opened + closed === 0) return ["No connection opens or closes.", ""];
  return [
    style.line`${style.bold("Connections:")} ${opened} to open, ${closed} to close.`,
    ...signedConnections(connectivity).map((line) => paintLine(line, style).trimEnd()),
    "",
  ];
}

/** Returns the first groups of both kinds, with `+` or `-` in front, and the number of the remaining connections. */
function signedConnections({ groups }: ConnectivityDiff): readonly string[] {
  return [...signedGroups("+", groups.opened), ...signedGroups("-", groups.closed)];
}

function signedGroups(sign: "+" | "-", groups: readonly ConnectionGroup[]): readonly string[] {
  const shown = groups.slice(0, SHOWN_CONNECTIONS);
  const width = (of: (group: ConnectionGroup) => string) => Math.max(0, ...shown.map((group) => of(group).length));
  const widths = [width(({ fromText }) => fromText), width(({ toText }) => toText), width(describePorts)] as const;
  const lines = shown.map((group) => {
    const ends = `${group.fromText.padEnd(widths[0])} → ${group.toText.padEnd(widths[1])}`;
    const why = `${describeCauses(group.causes)}${group.sharesAddress ? " (only by a shared address)" : ""}`;
    return `${sign} ${ends}  ${describePorts(group).padEnd(widths[2])}  ${why}`.trimEnd();
  });
  const rest = groups.slice(SHOWN_CONNECTIONS);
  const more = countConnections(rest);
  if (more === 0) return lines;
  const shared = countConnections(rest.filter(({ sharesAddress }) => sharesAddress));
  return [
    ...lines,
    `${sign} … and ${more} more connections${shared === 0 ? "" : `, ${shared} of them only by a shared address`}`,
  ];
}

function renderSummary(plan: Plan, style: Style): string {
  const { changes, summary } = plan;
  const against = describeBase(plan);
  if (changes.length === 0) return style.line`No changes: ${against} already holds this state.`;
  return style.line`${style.bold("Plan:")} ${summary.create} to create, ${summary.update} to update, ${summary.delete} to delete (against ${against}).`;
}

function renderChange(change: Change, style: Style): string {
  const paint = { create: style.good, update: style.warn, delete: style.bad }[change.action];
  const where = change.position === null ? "" : style.dim(`  ${change.position.file}:${change.position.line}`);
  const title = style.line`${paint(SIGNS[change.action])} ${style.bold(change.ref.kind)} ${qualifiedName(change.ref)}${where}`;
  return `${title}\n${changeLines(change)
    .map((line) => paintLine(line, style))
    .join("")}`;
}

function paintLine(line: string, style: Style): string {
  const paint = line.startsWith("+") ? style.good : line.startsWith("-") ? style.bad : style.dim;
  return `    ${paint(line)}\n`;
}
