/** The state of the source's last commit, as receivers are told it. Pure. */
import { MOST_DIAGNOSTICS, type CommitReach, type CommitReport, type CommitState } from "../../model/outbox.js";
import { printableLine } from "../../model/printable.js";
import type { NodeStatus, SourceStatus } from "../../model/status.js";
import { laggingOf, progressOf, type ClusterNode, type ClusterStatus } from "../../operations/cluster/membership.js";
import { maskCredentials } from "../../settings/mask.js";

/** As `ztap cluster status` has them. */
export type ReportedCluster = Pick<ClusterStatus, "revision" | "nodes" | "source" | "rollout">;

/** The longest description; each receiver shortens it further. */
const MOST_WORDS = 500;
const SHOWN_NODES = 3;

/** Returns the report; null if there is no commit, or nothing is known of it. */
export function reportCommit(cluster: ReportedCluster, statuses: readonly NodeStatus[]): CommitReport | null {
  const { source } = cluster;
  const commit = source?.observedCommit ?? null;
  if (source === null || commit === null) return null;
  const { location, ref, path } = source;
  const common = {
    commit,
    revision: null,
    nodes: null,
    diagnostics: source.diagnostics.slice(0, MOST_DIAGNOSTICS),
    source: { location: maskCredentials(location), ref, path },
  };
  const withWords = (state: CommitState, words: string): CommitReport => ({
    ...common,
    state,
    description: shorten(words),
  });
  switch (source.state) {
    case "Unreachable":
      // Nodes go on, and receivers may be reached.
      if (source.observedCommit !== source.acceptedCommit || source.acceptedRevision !== cluster.revision) return null;
      return { ...withWords("accepted", ""), ...reachOf(cluster, statuses) };
    case "Rejected":
      return withWords("rejected", [reasonOf(source, "rejected"), ...firstErrors(source)].join("; "));
    case "Held":
      return withWords("held", `held: ${reasonOf(source, "it waits for an operator")}`);
    case "OutOfSync":
      return withWords("reverted", reasonOf(source, "another revision is in force"));
    case "Synced":
      return { ...withWords("accepted", ""), ...reachOf(cluster, statuses) };
  }
}

/** Returns the message, without the name of the commit that the receiver knows. */
function reasonOf({ message }: SourceStatus, otherwise: string): string {
  return message === null ? otherwise : message.replace(/^commit [0-9a-f]{12,64} (was )?/, "");
}

function firstErrors({ diagnostics }: SourceStatus): readonly string[] {
  return diagnostics
    .slice(0, 1)
    .map(({ file, line, column, code, message }) => `${file}:${line}:${column} ${code} ${message}`);
}

/** How far head has come, which is the commit. */
function reachOf(
  cluster: ReportedCluster,
  statuses: readonly NodeStatus[],
): Pick<CommitReport, "state" | "description" | "revision" | "nodes"> {
  const { revision, rollout } = cluster;
  // Its nodes enforce what was in force before, and all of that.
  if (rollout?.state === "failed" || rollout?.state === "aborted")
    return { state: "reverted", description: shorten(describeRollout(rollout)), revision, nodes: null };
  const { enforced, expected } = progressOf(cluster);
  const statusOf = new Map(statuses.map((status) => [status.node, status]));
  const late = laggingOf(cluster).nodes.map((node) => ({
    node,
    why: whyLate(node, statusOf.get(node.id), revision),
  }));
  const of = (kind: Late["kind"]): readonly { readonly id: string; readonly words: string }[] =>
    late.flatMap(({ node, why }) => (why?.kind === kind ? [{ id: node.id, words: why.words }] : []));
  const [stalled, reverted, silent] = [of("stalled"), of("reverted"), of("silent")];
  const nodes: CommitReach = { enforced, expected, stalled: stalled.length, reverted: reverted.length };
  const state: CommitState =
    expected > 0 && enforced === expected
      ? "enforced"
      : reverted.length > 0
        ? "reverted"
        : stalled.length > 0
          ? "stalled"
          : "accepted";
  const description = [
    expected === 0 ? "accepted, and there is no node yet" : `enforced on ${enforced} of ${counted(expected)}`,
    ...describe(reverted, "went back"),
    ...describe(stalled, "stalled"),
    ...describe(silent, silent.length === 1 ? "does not answer" : "do not answer"),
    ...(rollout === null || rollout.state === "complete" || state === "enforced" ? [] : [describeRollout(rollout)]),
  ].join(", ");
  return { state, description: shorten(description), revision, nodes };
}

function describeRollout({ state, wave, waves, message }: NonNullable<ReportedCluster["rollout"]>): string {
  const where = wave === 0 ? "before the first wave" : `in wave ${wave} of ${waves}`;
  const words = {
    ...{ shadow: where, running: where, complete: "complete" },
    ...{
      paused: `paused ${where}`,
      failed: `its rollout failed ${where}`,
      aborted: `its rollout was aborted ${where}`,
    },
  }[state];
  return message === null ? words : `${words}: ${message}`;
}

interface Late {
  readonly kind: "stalled" | "reverted" | "silent";
  readonly words: string;
}

/**
 * Returns why a node is behind; null if it is on its way. What it said before it tried this revision is about another one.
 */
function whyLate(node: ClusterNode, status: NodeStatus | undefined, revision: number | null): Late | null {
  const silent: Late | null = node.state === "healthy" ? null : { kind: "silent", words: "" };
  if (status?.reverted !== undefined && status.reverted.revision === revision)
    return { kind: "reverted", words: status.reverted.reason };
  if (status === undefined || (status.attemptedRevision ?? 0) < (revision ?? 0)) return silent;
  const [withheld] = node.withheld;
  if (withheld !== undefined) return { kind: "stalled", words: withheld.reason };
  return status.state === "Stalled" ? { kind: "stalled", words: status.message ?? "" } : silent;
}

function describe(nodes: readonly { readonly id: string; readonly words: string }[], what: string): readonly string[] {
  if (nodes.length === 0) return [];
  const shown = nodes.slice(0, SHOWN_NODES).map(({ id, words }) => (words === "" ? id : `${id}: ${words}`));
  return [`${nodes.length} ${what}: ${shown.join("; ")}${nodes.length > SHOWN_NODES ? "; …" : ""}`];
}

function counted(nodes: number): string {
  return nodes === 1 ? "1 node" : `${nodes} nodes`;
}

function shorten(text: string): string {
  const line = printableLine(text);
  return line.length <= MOST_WORDS ? line : `${line.slice(0, MOST_WORDS - 1).toWellFormed()}…`;
}
