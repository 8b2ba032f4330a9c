/** Membership and health, as text or as documents. */
import type { CertificateExpiry } from "../model/certificate.js";
import type { StoreHealth } from "../model/status.js";
import { describeStoreProblems } from "../model/store-health.js";
import { describeSuspension } from "../operations/change/notices.js";
import { progressOf } from "../operations/cluster/membership.js";
import type { ReceiverStatus } from "../operations/cluster/notifications.js";
import type { ClusterNode, ClusterStatus, Joined, Left, Progress } from "../operations/cluster/membership.js";
import { ageText } from "./age.js";
import { describeOverrides } from "./overrides.js";
import type { Style } from "./style.js";
import { describeShadow } from "./shadow.js";
import { renderListing, type ListTable } from "./listing.js";
import { wrapWords } from "./wrap.js";

/** @param progress of all nodes, also where the status has only some */
export function clusterStatusDocument(
  status: ClusterStatus,
  progress: Progress,
  certificates: readonly CertificateExpiry[],
): object {
  return { formatVersion: 1, ...status, progress, certificates };
}

export function clusterListDocument(status: ClusterStatus): object {
  return { formatVersion: 1, nodes: status.nodes };
}

interface StatusOptions {
  /** See `describeExpiries`. */
  readonly expiring?: readonly string[];
  readonly isWide?: boolean;
  /** Of all nodes, where the status has only those that lag. */
  readonly progress?: Progress;
}

export function renderClusterStatus(
  status: ClusterStatus,
  style: Style,
  { expiring = [], isWide = false, progress = progressOf(status) }: StatusOptions = {},
): string {
  const { source, suspension } = status;
  const paintSource = {
    Synced: style.good,
    OutOfSync: style.bad,
    Rejected: style.bad,
    Unreachable: style.bad,
    Held: style.warn,
  };
  const lines = [
    style.line`Store     ${status.backend}, ${status.revision === null ? "no revision yet" : `revision ${status.revision}`}`,
    ...status.servers.map((server) => style.line`          ${renderServer(server, style)}`),
    ...describeStoreProblems(status.servers).map((problem) => style.line`          ${style.bad(problem)}`),
    ...expiring.map((one) => style.line`          ${style.warn(one)}`),
    style.line`Leader    ${renderLeader(status, style)}`,
    style.line`Source    ${source === null ? "none is polled" : source.location}`,
  ];
  if (source !== null) {
    const commit = source.observedCommit?.slice(0, 12) ?? "-";
    lines.push(
      style.line`          ${paintSource[source.state](source.state)} at ${commit}, checked ${source.checkedAt}`,
    );
    if (source.message !== null) lines.push(style.line`          ${source.message}`);
    if (source.rewrittenFrom !== undefined)
      lines.push(
        style.line`          ${style.warn("History was rewritten")}: this commit is no descendant of ${source.rewrittenFrom.slice(0, 12)}`,
      );
    for (const { code, file, line, column, message } of source.diagnostics) {
      lines.push(style.line`          ${file}:${line}:${column} ${style.bad(code)} ${message}`);
    }
  }
  if (suspension !== null)
    lines.push(style.line`          ${style.warn("Suspended")}: ${describeSuspension(suspension)}`);
  lines.push(...status.receivers.map((receiver) => style.line`Told      ${renderReceiver(receiver, style)}`));
  for (const override of describeOverrides(status.overrides)) lines.push(style.line`Override  ${style.warn(override)}`);
  for (const damage of status.damaged) lines.push(style.line`Damaged   ${style.bad(damage)}`);
  lines.push(...renderRollout(status, style), ...renderProgress(status, progress, style));
  if (status.nodes.length === 0 && progress.expected > 0) return lines.join("\n");
  return [...lines, "", renderClusterList(status, style, isWide)].join("\n");
}

function renderReceiver({ receiver, pending, since, problem, lost }: ReceiverStatus, style: Style): string {
  const waits = pending === 0 ? [] : [`${pending} ${pending === 1 ? "event waits" : "events wait"} since ${since}`];
  const gone = lost === 0 ? [] : [`${lost} lost`];
  const counts = [...waits, ...gone].join(", ") || "everything";
  const why = problem === null ? "" : style.line`: ${style.bad(problem)}`;
  return style.line`${receiver}: ${pending === 0 && problem === null ? counts : style.warn(counts)}${why}`;
}

function renderServer({ endpoint, databaseBytes, quotaBytes, alarms, problem }: StoreHealth, style: Style): string {
  if (problem !== null) return style.line`${endpoint}: ${style.bad(problem)}`;
  const raised = alarms.length === 0 ? "" : style.line`, ${style.bad(alarms.join(", "))}`;
  return style.line`${endpoint}: database ${renderSize(databaseBytes, quotaBytes)}${raised}`;
}

function renderSize(bytes: number | null, quota: number | null): string {
  const inMiB = (size: number): string => `${Math.round(size / 1024 / 1024)} MiB`;
  if (bytes === null) return "of unknown size";
  if (quota === null) return `${inMiB(bytes)}, quota unknown`;
  return `${Math.round((bytes / quota) * 100)} % of ${inMiB(quota)}`;
}

/** Leadership outlives the last heartbeat for a while: a dead agent still has it. */
function renderLeader({ leader, nodes }: ClusterStatus, style: Style): string {
  if (leader === null) return style.warn("none");
  const name = style.line`${leader.id} (${leader.address})`;
  const node = nodes.find(({ id }) => id === leader.id);
  if (node === undefined || node.heartbeatAgeMs === null || node.state !== "unhealthy") return name;
  const silence = `no heartbeat for ${ageText(node.heartbeatAgeMs)}; another node leads when its session has expired`;
  return style.line`${name}: ${style.bad(silence)}`;
}

function renderProgress(
  { revision }: ClusterStatus,
  { enforced, waiting, expected }: Progress,
  style: Style,
): readonly string[] {
  if (revision === null || expected === 0) return [];
  const paint = enforced + waiting === expected ? style.good : style.warn;
  const nodes = expected === 1 ? "node" : "nodes";
  const others = waiting === 0 ? "" : `, not released to ${waiting}`;
  return [style.line`Enforced  ${paint(`on ${enforced} of ${expected} ${nodes}${others}`)}`];
}

function renderRollout({ rollout }: ClusterStatus, style: Style): readonly string[] {
  // What is complete is said by the nodes that enforce it.
  if (rollout === null || rollout.state === "complete") return [];
  const { state, wave, waves, message, base } = rollout;
  const paint = state === "failed" || state === "aborted" ? style.bad : style.warn;
  const where = wave === 0 ? "" : `, wave ${wave} of ${waves}`;
  const why = message === null ? "" : `: ${message}`;
  return [style.line`Rollout   ${paint(state)}${where}, over revision ${base}${why}`];
}

export function clusterListing({ nodes }: Pick<ClusterStatus, "nodes">, style: Style): ListTable {
  const problems = nodes.flatMap((node) => describeProblem(node, style));
  return {
    columns: [
      { title: "Node", isName: true },
      { title: "Address" },
      { title: "Role" },
      { title: "State" },
      { title: "Heartbeat", isVolatile: true },
      { title: "Enforced" },
      { title: "Lag" },
      { title: "Declared", wide: true },
      { title: "Joined", wide: true },
      { title: "Ruleset", wide: true },
    ],
    rows: nodes.map((node) => ({ key: node.id, cells: toRow(node, style) })),
    empty: "No nodes: none is declared, and no agent has joined.",
    notes: problems.length === 0 ? [] : ["", ...problems],
  };
}

export function renderClusterList(status: Pick<ClusterStatus, "nodes">, style: Style, isWide = false): string {
  return renderListing(clusterListing(status, style), style, { wide: isWide, headers: true });
}

/** Renders problems below the table, which has no room for whole sentences. */
function describeProblem(node: ClusterNode, style: Style): readonly string[] {
  const { id, declared, message, state } = node;
  const undeclared =
    declared || message?.includes("not declared") === true ? [] : ["the desired state declares no such Node"];
  const problem = [...(message === null ? [] : [message]), ...undeclared].join("; ");
  const paint = state === "absent" || state === "left" ? style.dim : style.bad;
  const wrap = (text: string, look: (line: string) => string): readonly string[] =>
    text === "" ? [] : wrapWords(style.line`${id}: ${text}`, style.width, "  ").map(look);
  const shadow = node.shadow === null ? "" : describeShadow(node.shadow);
  const paintShadow = node.shadow !== null && node.shadow.newDenials > 0 ? style.warn : style.dim;
  const waits = node.wave === null ? "" : `waits for wave ${node.wave} of the rollout`;
  return [
    ...wrap(problem, paint),
    ...wrap(waits, style.dim),
    ...wrap(describePending(node), style.warn),
    ...wrap(shadow, paintShadow),
  ];
}

/** The number of pending workloads that the text names for each node; the document has them all. */
const SHOWN_PENDING = 5;

function describePending({ pending }: ClusterNode): string {
  if (pending.length === 0) return "";
  const shown = pending.slice(0, SHOWN_PENDING).map(({ workload, message }) => `${workload}: ${message}`);
  const rest = pending.length - shown.length;
  const all = rest > 0 ? [...shown, `and ${rest} more`] : shown;
  return `${pending.length === 1 ? "1 workload is" : `${pending.length} workloads are`} pending, and not enforced: ${all.join("; ")}`;
}

function toRow(node: ClusterNode, style: Style): readonly string[] {
  const paint = { healthy: style.good, unhealthy: style.bad, left: style.dim, absent: style.dim }[node.state];
  return [
    node.id,
    node.address === "" ? "-" : node.address,
    node.role === "none" ? "-" : node.role,
    paint(node.state),
    node.heartbeatAgeMs === null ? "never" : `${ageText(node.heartbeatAgeMs)} ago`,
    node.enforcedRevision === null ? "-" : String(node.enforcedRevision),
    node.lag === null ? "-" : String(node.lag),
    node.declared ? "yes" : "no",
    node.joinedAt ?? "-",
    node.rulesetDigest?.slice(0, 12) ?? "-",
  ];
}

export function clusterJoinDocument({ member, changed, declared }: Joined): object {
  return { formatVersion: 1, ...member, changed, declared };
}

export function renderJoined({ member, changed, declared }: Joined, style: Style): string {
  const done = changed ? `${style.good("Joined")}: ` : "Was a member already: ";
  const hint = declared ? "" : "\nThe desired state declares no such Node.";
  return `${style.line`${done}node ${member.id} at ${member.address}.`}${hint}`;
}

export function clusterLeaveDocument(left: Left): object {
  return { formatVersion: 1, ...left };
}

export function renderLeft({ id, wasAlive }: Left, style: Style): string {
  const hint = wasAlive ? "\nIts agent still runs, and sends heartbeats until it is stopped." : "";
  return `${style.line`${style.good("Removed")}: node ${id}. Its kernel keeps the enforcement.`}${hint}`;
}
