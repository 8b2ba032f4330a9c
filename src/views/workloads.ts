/** Workloads and their instances, as text or as documents. */
import type { Refused } from "../inventory/resolve.js";
import type { SharedAddress } from "../inventory/shared-addresses.js";
import { qualifiedName } from "../model/state.js";
import type {
  WorkloadInstance,
  WorkloadInventory,
  WorkloadListing,
  WorkloadReport,
} from "../operations/workload/list.js";
import type { PlannedInstances } from "../operations/workload/planned.js";
import { ageText } from "./age.js";
import type { Style } from "./style.js";
import type { ListTable } from "./listing.js";
import { renderTable } from "./table.js";
import { wrapWords } from "./wrap.js";

/** The number of names that a cell lists; the rest is counted. */
const LISTED = 3;
/** The number of refusals, and of shared addresses, below a list. */
const SHOWN_BELOW = 10;

export function workloadListDocument(list: WorkloadInventory): object {
  return { formatVersion: 1, ...list };
}

/** @param isWide whether a cell names all nodes */
export function workloadListing(list: WorkloadInventory, style: Style, isWide: boolean): ListTable {
  const { workloads, refused, refusedCount, sharedAddresses, sharedAddressCount } = list;
  const listNodes = isWide ? (nodes: readonly string[]) => nodes.join(", ") || "none" : listNames;
  const rows = workloads.map((one) => ({
    key: qualifiedName(one),
    cells: [
      one.namespace,
      one.name,
      one.kind === "external" ? "external" : listNodes(one.nodes),
      one.pattern ?? "-",
      one.kind === "external" ? "-" : String(one.found),
      one.kind === "external" ? "-" : paintEnforced(one, style),
      describeAge(one.ageMs),
      one.kind,
    ],
  }));
  return {
    columns: [
      { title: "Namespace", isName: true },
      { title: "Name", isName: true },
      { title: "Nodes" },
      { title: "Pattern" },
      { title: "Found" },
      { title: "Enforced" },
      { title: "Age", isVolatile: true },
      { title: "Kind", wide: true },
    ],
    rows,
    empty: "No workloads.",
    notes: [
      ...renderRefused(refused, refusedCount, style),
      ...renderShared(sharedAddresses, sharedAddressCount, style),
    ],
  };
}

function paintEnforced({ found, enforced }: WorkloadListing, style: Style): string {
  if (found === 0) return style.warn("0");
  return enforced === found ? style.good(String(enforced)) : style.bad(`${enforced} of ${found}`);
}

const describeAge = (ageMs: number | null): string => (ageMs === null ? "-" : ageText(ageMs));

function listNames(names: readonly string[]): string {
  if (names.length === 0) return "none";
  const rest = names.length - LISTED;
  return names.slice(0, LISTED).join(", ") + (rest > 0 ? ` and ${rest} more` : "");
}

function renderRefused(refused: readonly Refused[], count: number, style: Style): readonly string[] {
  if (count === 0) return [];
  const title = `${count} ${count === 1 ? "report does" : "reports do"} not count:`;
  const lines = refused
    .slice(0, SHOWN_BELOW)
    .flatMap(({ node, what, why }) => wrapWords(style.line`  node ${node}: ${what}: ${why}`, style.width, "    "));
  const rest = refused.length - SHOWN_BELOW;
  return ["", style.warn(title), ...lines, ...(rest > 0 ? [style.dim("  …; --json has more")] : [])];
}

function renderShared(shared: readonly SharedAddress[], count: number, style: Style): readonly string[] {
  if (count === 0) return [];
  const title = `${count} ${count === 1 ? "address belongs" : "addresses belong"} to more than one node, and policy cannot tell these apart:`;
  const lines = shared
    .slice(0, SHOWN_BELOW)
    .flatMap(({ address, nodes }) => wrapWords(style.line`  ${address}: ${listNames(nodes)}`, style.width, "    "));
  const rest = shared.length - SHOWN_BELOW;
  return ["", style.warn(title), ...lines, ...(rest > 0 ? [style.dim("  …; --json has more")] : [])];
}

export function workloadReportDocument(report: WorkloadReport): object {
  return { formatVersion: 1, ...report };
}

export function renderWorkloadReport(report: WorkloadReport, style: Style): string {
  const { file, line, labels, ports, pattern, nodes, nodeSelector, instances, refused } = report;
  const where = file === null ? "" : style.dim(style.line`  ${file}:${line ?? "?"}`);
  const facts = [
    ["Workload", `${style.bold(style.line`${qualifiedName(report)}`)}${where}`],
    ["Labels", pairs(labels)],
    ["Processes", pattern ?? (report.kind === "external" ? "external peer" : "-")],
    ["Nodes", `${listNames(nodes)}${nodeSelector === null ? "" : `  by ${describeSelector(report)}`}`],
    [
      "Ports",
      ports
        .map(({ name, port, protocol }) => `${name ?? ""}${name === undefined ? "" : " "}${port}/${protocol}`)
        .join(", "),
    ],
  ].filter(([, text]) => text !== "");
  const lines = facts.map(
    ([title = "", text = ""]) => `${title.padEnd(10)}${title === "Workload" ? text : style.line`${text}`}`,
  );
  return [
    ...lines,
    ...(instances.length === 0 ? [] : ["", renderInstances(instances, style)]),
    ...instances.flatMap(({ name, message }) =>
      message === null ? [] : wrapWords(style.line`${name}: ${message}`, style.width, "  "),
    ),
    ...renderRefused(refused, refused.length, style),
  ].join("\n");
}

const pairs = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(", ");

function describeSelector({ nodeSelector }: WorkloadReport): string {
  const { matchLabels = {}, matchExpressions = [] } = nodeSelector ?? {};
  const expressions = matchExpressions.map(({ key, operator, values = [] }) =>
    `${key} ${operator} ${values.join("|")}`.trim(),
  );
  return [pairs(matchLabels), ...expressions].filter((text) => text !== "").join(", ") || "every node";
}

function renderInstances(instances: readonly WorkloadInstance[], style: Style): string {
  const paint = { Enforced: style.good, Pending: style.warn, Stalled: style.bad, Unknown: style.dim };
  const rows = instances.map(({ name, cgroup, addresses, state, ageMs }) => [
    name,
    cgroup ?? "-",
    addresses.length === 0 ? "-" : listNames(addresses),
    paint[state](state),
    describeAge(ageMs),
  ]);
  return renderTable([{ title: "Instance", isName: true }, "Cgroup", "Addresses", "State", "Age"], rows, style);
}

/** Describes the instances of planned patterns, one line each: `shop/web (unit nginx.service): shop/web@web-1, 12 s ago`. */
export function describePlanned(planned: readonly PlannedInstances[]): readonly string[] {
  return planned.map(({ workload, pattern, instances, ageMs }) => {
    const found = instances.length === 0 ? "no node has reported any" : `${instances.length}: ${listNames(instances)}`;
    const age = ageMs === null ? "" : `, as of ${ageText(ageMs)} ago`;
    return `${workload} (${pattern}): ${found}${age}`;
  });
}
