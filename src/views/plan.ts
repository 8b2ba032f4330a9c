/** A plan as text for people, or as the document that scripts read. */
import { qualifiedName } from "../model/state.js";
import type { ConnectivityDiff } from "../plan/connectivity.js";
import type { Change, Plan } from "../plan/plan.js";
import { printableLine } from "../model/printable.js";
import type { ConnectionGroup } from "../plan/groups.js";
import { changeLines, describeBase, describeCauses, notComputed, SIGNS } from "./changes.js";
import { describePorts } from "./connectivity.js";
import type { Style } from "./style.js";

/** How many connections a text shows of each kind; the document has more. */
const SHOWN_CONNECTIONS = 20;

export function planDocument(plan: Plan, { opened, closed, summary, unknown }: ConnectivityDiff): object {
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
    connectivity: { opened, closed, summary, unknown },
  };
}

export function renderPlan(plan: Plan, connectivity: ConnectivityDiff, style: Style): string {
  const blocks = plan.changes.map((change) => renderChange(change, style));
  return [...blocks, ...renderConnectivity(plan, connectivity, style), renderSummary(plan, style)].join("\n");
}

function renderConnectivity(plan: Plan, connectivity: ConnectivityDiff, style: Style): readonly string[] {
  if (plan.changes.length === 0) return [];
  if (connectivity.unknown !== null) return [style.warn(notComputed(connectivity.unknown)), ""];
  const { opened, closed } = connectivity.summary;
  if (opened + closed === 0) return ["No connection opens or closes.", ""];
  return [
    `${style.bold("Connections:")} ${opened} to open, ${closed} to close.`,
    ...signedConnections(connectivity).map((line) => paintLine(line, style).trimEnd()),
    "",
  ];
}

/** The first groups of both kinds, with `+` or `-` in front, and how many connections more there are. */
function signedConnections({ groups }: ConnectivityDiff): readonly string[] {
  return [...signedGroups("+", groups.opened), ...signedGroups("-", groups.closed)];
}

function signedGroups(sign: "+" | "-", groups: readonly ConnectionGroup[]): readonly string[] {
  const shown = groups.slice(0, SHOWN_CONNECTIONS);
  const width = (of: (group: ConnectionGroup) => string) => Math.max(0, ...shown.map((group) => of(group).length));
  const widths = [width(({ fromText }) => fromText), width(({ toText }) => toText), width(describePorts)] as const;
  const lines = shown.map((group) => {
    const ends = `${group.fromText.padEnd(widths[0])} → ${group.toText.padEnd(widths[1])}`;
    return `${sign} ${ends}  ${describePorts(group).padEnd(widths[2])}  ${describeCauses(group.causes)}`.trimEnd();
  });
  const more = groups.slice(SHOWN_CONNECTIONS).reduce((sum, { connections }) => sum + connections, 0);
  return more === 0 ? lines : [...lines, `${sign} … and ${more} connections more`];
}

function renderSummary(plan: Plan, style: Style): string {
  const { changes, summary } = plan;
  const against = describeBase(plan);
  if (changes.length === 0) return `No changes: ${against} already holds this state.`;
  return `${style.bold("Plan:")} ${summary.create} to create, ${summary.update} to update, ${summary.delete} to delete (against ${against}).`;
}

function renderChange(change: Change, style: Style): string {
  const paint = { create: style.good, update: style.warn, delete: style.bad }[change.action];
  const where =
    change.position === null ? "" : style.dim(`  ${printableLine(change.position.file)}:${change.position.line}`);
  const title = `${paint(SIGNS[change.action])} ${style.bold(change.ref.kind)} ${qualifiedName(change.ref)}${where}`;
  return `${title}\n${changeLines(change)
    .map((line) => paintLine(line, style))
    .join("")}`;
}

function paintLine(line: string, style: Style): string {
  const paint = line.startsWith("+") ? style.good : line.startsWith("-") ? style.bad : style.dim;
  return `    ${paint(line)}\n`;
}
