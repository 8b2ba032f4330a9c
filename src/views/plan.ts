/** A plan as text for people, as markdown for a pull request, or as the document that scripts read. */
import { diffLines } from "diff";
import { stringify } from "yaml";
import type { ZtapObject } from "../model/objects.js";
import { qualifiedName } from "../model/state.js";
import type { ConnectivityDiff } from "../plan/connectivity.js";
import type { Change, Plan } from "../plan/plan.js";
import { printable, printableLine } from "../model/printable.js";
import type { Cause } from "../plan/causes.js";
import type { ConnectionGroup } from "../plan/groups.js";
import { describePorts } from "./connectivity.js";
import type { Style } from "./style.js";

const SIGNS = { create: "+", update: "~", delete: "-" } as const;

/** How many connections a text shows of each kind; the document has more. */
const SHOWN_CONNECTIONS = 20;

export function planDocument(plan: Plan, { opened, closed, summary, unknown }: ConnectivityDiff): object {
  return {
    formatVersion: 1,
    base: { revision: plan.base },
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

/** How many rules or workloads a line names as its reason. */
const SHOWN_CAUSES = 2;

function describeCauses(causes: readonly Cause[]): string {
  const shown = causes.slice(0, SHOWN_CAUSES).map(({ kind, name, direction, index, file, line }) => {
    const what =
      kind === "Workload" ? `workload ${name}` : `${name} ${direction ?? ""}${index === undefined ? "" : `[${index}]`}`;
    return file === undefined ? what : `${what} (${printableLine(file)}:${line ?? 1})`;
  });
  return causes.length > SHOWN_CAUSES ? `${shown.join(", ")}, …` : shown.join(", ");
}

function renderSummary({ base, changes, summary }: Plan, style: Style): string {
  const against = base === null ? "an empty store" : `revision ${base}`;
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

/** The object's own lines with `+`, `-` or a space in front; of an update only what is near a change. */
function changeLines({ before, after }: Change): readonly string[] {
  const parts = diffLines(toYaml(before), toYaml(after));
  const lines = parts.flatMap(({ value, added, removed }) =>
    value
      .split("\n")
      .slice(0, -1)
      .map((line) => `${added ? "+" : removed ? "-" : " "} ${line}`),
  );
  if (before === null || after === null) return lines;
  const isNear = lines.map((_, index) =>
    lines.slice(Math.max(0, index - 3), index + 4).some((line) => !line.startsWith(" ")),
  );
  return lines.flatMap((line, index) => (isNear[index] === true ? [line] : isNear[index - 1] === true ? ["  …"] : []));
}

function toYaml(object: ZtapObject | null): string {
  if (object === null) return "";
  const { labels } = object.metadata;
  // YAML leaves the controls of C1 and of the reading direction as they are.
  return printable(
    stringify(
      { ...(labels === undefined ? {} : { labels }), ...("spec" in object ? { spec: object.spec } : {}) },
      { sortMapEntries: true },
    ),
  );
}

/** CommonMark 4.5: a fence is closed only by one that is at least as long. */
function fenceAround(lines: readonly string[]): string {
  const runs = lines.flatMap((line) => line.match(/`+/g) ?? []);
  return "`".repeat(Math.max(3, ...runs.map((run) => run.length + 1)));
}

/** A code span in a cell of a table; a file's name may hold what would end either. */
function codeInCell(text: string): string {
  return `\`${printableLine(text).replaceAll("`", "'").replaceAll("|", "\\|")}\``;
}

function notComputed(why: string): string {
  return `Which connections open and close was not computed: ${why}.`;
}

function connectivityMarkdown(connectivity: ConnectivityDiff): readonly string[] {
  if (connectivity.unknown !== null) return [`**${notComputed(connectivity.unknown)}**`, ""];
  const { opened, closed } = connectivity.summary;
  if (opened + closed === 0) return ["No connection opens or closes.", ""];
  return [
    `**Connections: ${opened} to open, ${closed} to close.**`,
    "",
    "```diff",
    ...signedConnections(connectivity),
    "```",
    "",
  ];
}

export function renderPlanMarkdown(plan: Plan, connectivity: ConnectivityDiff): string {
  const { create, update, delete: deleted } = plan.summary;
  const commit = plan.source.commit === null ? "" : ` at \`${plan.source.commit.slice(0, 12)}\``;
  const head = [`### ztap plan${commit}`, ""];
  if (plan.changes.length === 0) return [...head, "**No changes.**", ""].join("\n");
  const rows = plan.changes.map(({ action, ref, position }) => {
    const where = position === null ? "" : codeInCell(`${position.file}:${position.line}`);
    return `| ${SIGNS[action]} ${action} | ${ref.kind} | \`${qualifiedName(ref)}\` | ${where} |`;
  });
  const details = plan.changes.flatMap((change) => {
    const lines = changeLines(change);
    const fence = fenceAround(lines);
    return [
      `<details><summary>${change.action} ${change.ref.kind} <code>${qualifiedName(change.ref)}</code></summary>`,
      "",
      `${fence}diff`,
      ...lines,
      fence,
      "",
      "</details>",
    ];
  });
  return [
    ...head,
    `**${create} to create, ${update} to update, ${deleted} to delete.**`,
    "",
    "| | kind | object | where |",
    "| --- | --- | --- | --- |",
    ...rows,
    "",
    ...connectivityMarkdown(connectivity),
    ...details,
    "",
  ].join("\n");
}
