/** Policies, their history and their drift report, as text or as documents. */
import { describeSuspension } from "../operations/change/notices.js";
import { qualifiedName } from "../model/state.js";
import type { DriftItem } from "../model/status.js";
import type { GitState } from "../operations/policy/git-state.js";
import type { PolicyHistory } from "../operations/policy/history.js";
import type { PolicyListing, PolicyNode, PolicyReport, PolicyRow } from "../operations/policy/report.js";
import type { PolicyModes } from "../policy/compile/modes.js";
import type { PolicyWritten } from "../operations/policy/write.js";
import type { PolicyEvent } from "../operations/policy/watch.js";
import { describeReason } from "./revisions.js";
import type { Style } from "./style.js";
import type { Column } from "./columns.js";
import type { ListTable } from "./listing.js";
import { renderTable } from "./table.js";
import { wrapWords } from "./wrap.js";
import { toYamlLines } from "./yaml.js";

export function policyListDocument(policies: readonly PolicyListing[]): object {
  return { formatVersion: 1, policies };
}

/** The list. Git's state is a column only if a source is polled; the mode, only if a policy audits. */
export function policyListing(policies: readonly PolicyListing[], style: Style): ListTable {
  const hasSource = policies.some(({ git }) => git !== null);
  const hasAudit = policies.some(({ mode }) => audits(mode));
  const rows = policies.map((row) => ({
    key: qualifiedName(row),
    cells: [
      qualifiedName(row),
      String(row.version),
      row.sourceNode,
      row.updatedAt,
      ...(hasSource ? [row.git === null ? "-" : paintGit(row.git, style)] : []),
      ...(hasAudit ? [describeMode(row.mode, style)] : []),
      String(row.revision),
      shortCommit(row) ?? "-",
    ],
  }));
  const columns: readonly Column[] = [
    { title: "Name", isName: true },
    { title: "Version" },
    { title: "Source Node" },
    { title: "Last Updated" },
    ...(hasSource ? [{ title: "Git" }] : []),
    ...(hasAudit ? [{ title: "Mode" }] : []),
    // That of head: a watcher sees a policy's own change by its version.
    { title: "Revision", wide: true, isVolatile: true },
    { title: "Commit", wide: true, isVolatile: true },
  ];
  return { columns, rows, empty: "No policies.", notes: [] };
}

const audits = (mode: PolicyModes): boolean => Object.values(mode).includes("audit");

/** Returns `enforce`, `audit`, or the one direction in audit mode. */
function describeMode(mode: PolicyModes, style: Style): string {
  if (!audits(mode)) return "enforce";
  const isMixed = Object.values(mode).includes("enforce");
  return style.warn(isMixed ? `audit ${mode.ingress === "audit" ? "ingress" : "egress"}` : "audit");
}

function paintGit(state: GitState, style: Style): string {
  return { Synced: style.good, OutOfSync: style.bad, Unknown: style.warn }[state](state);
}

export function policyWriteDocument(written: Exclude<PolicyWritten, { readonly outcome: "invalid" }>): object {
  const { policy } = written;
  if (written.outcome === "unchanged") return { formatVersion: 1, changed: false, policy, revision: null };
  const { number, time, author, reason } = written.revision;
  return {
    formatVersion: 1,
    changed: true,
    policy,
    revision: { number, time, author, reason, overGit: written.overGit },
  };
}

export function renderPolicyWritten(
  written: Exclude<PolicyWritten, { readonly outcome: "invalid" }>,
  style: Style,
): string {
  const { policy } = written;
  const version = style.line`${style.bold(qualifiedName(policy))} version ${policy.version}`;
  if (written.outcome === "unchanged")
    return style.line`No difference: ${version} has this content already. Nothing was committed.`;
  const when = written.suspension === null ? "at its next poll" : "when the source is no longer suspended";
  const hint = written.overGit
    ? `\n${style.warn("Git has another version")}: the leader restores Git's state ${when}, unless source.selfHeal is false.`
    : "";
  return `${style.line`${style.good("Committed")} revision ${written.revision.number}: ${version}.`}${hint}`;
}

export function policyHistoryDocument(history: PolicyHistory): object {
  return { formatVersion: 1, ...history };
}

export function policyHistoryListing({ versions, pruned }: PolicyHistory, style: Style): ListTable {
  const rows = versions.map((row) => ({
    key: `${row.version} ${row.revision ?? ""} ${row.action ?? ""}`,
    cells: [
      String(row.version),
      row.action ?? "?",
      row.revision === null ? "pruned" : String(row.revision),
      shortCommit(row) ?? "-",
      row.updatedAt,
      row.author ?? "?",
      describeReason(row),
      row.sourceNode,
    ],
  }));
  const titles = ["Version", "Action", "Revision", "Commit", "Time", "Author", "Reason"];
  return {
    columns: [...titles.map((title) => ({ title })), { title: "Source Node", wide: true }],
    rows,
    empty: "No versions.",
    notes: pruned ? [style.dim("Older versions were pruned.")] : [],
  };
}

export function policyReportDocument(report: PolicyReport): object {
  return { formatVersion: 1, ...report };
}

export function renderPolicyReport(report: PolicyReport, style: Style): string {
  const { policy, git, networkSets, nodes, subjects, suspension } = report;
  const where = policy.file === null ? "" : style.line`  ${policy.file}:${policy.line ?? "?"}`;
  const commit = shortCommit(policy) ?? "no commit";
  const facts = [
    ["Policy", style.line`${style.bold(qualifiedName(policy))}  version ${policy.version}${style.dim(where)}`],
    ["Store", style.line`revision ${policy.revision}, ${commit}`],
    ["Git", style.line`${paintGit(git.state, style)}${git.message === null ? "" : `  ${git.message}`}`],
    ...(audits(report.mode) ? [["Mode", `${describeMode(report.mode, style)}: reported, but not denied`]] : []),
    ...(suspension === null ? [] : [["Suspended", style.warn(describeSuspension(suspension))]]),
    ...(networkSets.length === 0
      ? []
      : [["NetworkSets", networkSets.map(({ name, cidrs }) => `${name} (${countOf(cidrs)})`).join(", ")]]),
    [
      "Subjects",
      subjects.length === 0
        ? "none"
        : subjects.map(({ workload, node }) => `${workload} on ${node ?? "no node"}`).join(", "),
    ],
  ];
  const width = Math.max(...facts.map(([name = ""]) => name.length));
  return [
    ...facts.map(([name = "", value = ""]) => style.line`${name.padEnd(width)}  ${value}`),
    "",
    ...renderNodes(nodes, style),
    "",
    ...nodes.flatMap((node) => renderCounters(node, style)),
    ...toYamlLines({ spec: report.spec }, { sorted: false }).map(style.dim),
  ].join("\n");
}

const countOf = (cidrs: number): string => (cidrs === 1 ? "1 CIDR" : `${cidrs} CIDRs`);

/** The number of differences of each node that a text shows. */
const SHOWN_DRIFT = 100;

function driftLine(node: string, { kind, detail }: DriftItem, style: Style): string {
  return style.line`  ${style.bad(kind)}  ${node}: ${detail}`;
}

function renderNodes(nodes: readonly PolicyNode[], style: Style): readonly string[] {
  if (nodes.length === 0) return ["No node has a workload that this policy selects."];
  const paint = {
    InSync: style.good,
    Pending: style.warn,
    Drifted: style.bad,
    Stalled: style.bad,
    Unknown: style.warn,
  };
  const rows = nodes.map((node) => [
    node.node,
    paint[node.state](node.state),
    `${node.enforcedRevision ?? "-"}/${node.desiredRevision}`,
    node.observedAt ?? "never",
  ]);
  // A table has no room for whole sentences.
  const messages = nodes.flatMap(({ node, message }) =>
    message === null ? [] : wrapWords(style.line`  ${node}: ${message}`, style.width, "    "),
  );
  const drift = nodes.flatMap((node) => [
    ...node.drift.slice(0, SHOWN_DRIFT).map((item) => driftLine(node.node, item, style)),
    ...(node.drift.length > SHOWN_DRIFT
      ? [style.line`  … and ${node.drift.length - SHOWN_DRIFT} more of ${node.node}; --json has them all`]
      : []),
  ]);
  const columns = [{ title: "Node", isName: true } as const, "State", "Revision", "Observed"];
  return [renderTable(columns, rows, style), ...messages, ...drift];
}

/**
 * Renders the packets that each rule allowed, and those that no rule allowed, of nodes whose kernel can be read from
 * here.
 */
function renderCounters({ node, counters }: PolicyNode, style: Style): readonly string[] {
  if (counters === null) return [];
  const rules = counters.rules.map(({ direction, index, file, line, packets }) => [
    `${direction}[${index}]`,
    file === null ? "" : `${file}:${line ?? "?"}`,
    packets === null ? "not counted" : `${packets} packets`,
  ]);
  const workloads = counters.workloads.map(({ workload, direction, mode, denied, audited, refusedCalls }) => {
    const calls = direction === "egress" ? `, ${refusedCalls ?? "?"} connects refused` : "";
    const packets = mode === "audit" ? `${audited ?? "?"} packets audited` : `${denied ?? "?"} packets denied${calls}`;
    return [`${direction} without a rule`, workload, packets];
  });
  const columns = [{ title: `Packets on ${node}` }, { title: "", isName: true } as const, { title: "" }];
  return [renderTable(columns, [...rules, ...workloads], style), ""];
}

export function renderPolicyEvent(event: PolicyEvent, style: Style): string {
  const paint = { current: style.dim, created: style.good, updated: style.warn, deleted: style.bad }[event.action];
  const commit = shortCommit(event) === null ? "" : `  ${shortCommit(event)}`;
  return style.line`${event.updatedAt}  ${paint(event.action.padEnd(7))}  ${qualifiedName(event)}  version ${event.version}  revision ${event.revision}  ${event.sourceNode}${commit}`;
}

/** Returns the commit as git writes it: `-dirty` if the work tree had changes that are not in the commit. */
function shortCommit({ commit, dirty }: Pick<PolicyRow, "commit" | "dirty">): string | null {
  return commit === null ? null : `${commit.slice(0, 12)}${dirty ? "-dirty" : ""}`;
}
