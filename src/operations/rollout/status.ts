/** `ztap rollout status`: where a rollout stands, what it waits for, and what the coming revision would cut. */
import { isUnderWay, releasedTo, type Rollout, type RolloutState } from "../../model/rollout.js";
import type { Revision } from "../../model/state.js";
import type { ShadowDifference } from "../../model/shadow.js";
import { listUncompared, secondsOf } from "../../plan/rollout/advance.js";
import { freezeAt, type Freeze } from "../../plan/rollout/freeze.js";
import { readGates, type GateReading } from "../../plan/rollout/gates.js";
import { messageOf, nodeProgress, wavesOf, type NodeProgress, type RolloutNode } from "../../plan/rollout/nodes.js";
import { upcomingWaves } from "../../plan/rollout/steps.js";
import type { Store } from "../../interfaces/store.js";
import type { Clock } from "../../interfaces/system.js";
import { readRolloutNodes, RolloutDescriptions } from "./nodes.js";

export interface RolloutNodeStatus {
  readonly node: string;
  readonly progress: NodeProgress;
  /** The revision that it must enforce. */
  readonly released: number;
  /** The wave that it waits for, from 1; null if it waits for none. */
  readonly wave: number | null;
  /** Why it is not done; null if it is. */
  readonly message: string | null;
}

/** A difference on all nodes that compare. */
export interface FleetDifference extends Omit<ShadowDifference, "workload"> {
  /** Sorted. */
  readonly workloads: readonly string[];
  readonly nodes: readonly string[];
}

export interface RolloutStatus {
  /** Number of head; null before the first. */
  readonly head: number | null;
  /** Null if head went to all nodes at once. */
  readonly rollout: RolloutReport | null;
}

export interface RolloutReport {
  readonly revision: number;
  readonly base: number;
  readonly commit: string | null;
  readonly subject: string | null;
  readonly author: string;
  readonly state: RolloutState;
  /** The newest released wave, from 1; 0 before the first. */
  readonly wave: number;
  readonly waves: number;
  readonly since: string;
  readonly by: string | null;
  readonly message: string | null;
  /** When the comparison with live traffic, or the soak, is over; null if it has not begun or is over. */
  readonly waitsUntil: string | null;
  readonly freeze: Freeze | null;
  readonly gates: readonly (GateReading & { readonly isWaived: boolean })[];
  /** Nodes of the rollout: all, those that have it released, those of them that enforce it. */
  readonly nodes: { readonly total: number; readonly released: number; readonly enforced: number };
  /** Nodes that compare the revision with live traffic, and the connections that they compared. */
  readonly compared: { readonly nodes: number; readonly missing: readonly string[]; readonly connections: number };
  /** The most frequent first. */
  readonly differences: readonly FleetDifference[];
  /** Every node that does not enforce the revision. */
  readonly behind: readonly RolloutNodeStatus[];
}

export async function readRolloutStatus({
  store,
  clock,
}: {
  readonly store: Store;
  readonly clock: Clock;
}): Promise<RolloutStatus> {
  const { head, rollout } = await store.readRelease();
  if (rollout === null) return { head, rollout: null };
  const revision = await store.readRevision(rollout.revision);
  const found = await readRolloutNodes(store, await RolloutDescriptions.read(store, rollout));
  const nodes = found.map((node): RolloutNode => ({ ...node, behindMs: 0 }));
  return { head, rollout: reportRollout(rollout, revision, nodes, clock.now()) };
}

function reportRollout(
  rollout: Rollout,
  revision: Revision | null,
  nodes: readonly RolloutNode[],
  now: number,
): RolloutReport {
  const { base, state, since, by, message, plan } = rollout;
  const upcoming = isUnderWay(rollout) ? upcomingWaves(rollout, nodes) : new Map<string, number>();
  const statuses = nodes.map((node) => reportNode(rollout, node, upcoming.get(node.id) ?? null));
  const shadows = nodes.flatMap(({ id, status }) =>
    status?.shadow?.commitId === rollout.commitId ? [{ id, shadow: status.shadow }] : [],
  );
  const waiting = nodes.filter((node) => nodeProgress(rollout, node) === "waiting");
  return {
    ...{ revision: rollout.revision, base, state, since, by, message },
    commit: revision?.source.commit ?? null,
    subject: revision?.source.subject ?? null,
    author: revision?.author ?? "",
    wave: rollout.wave + 1,
    waves: wavesOf(plan).length,
    waitsUntil: waitEnd(rollout, now),
    freeze: freezeAt(plan.freeze, now),
    gates: readGates(rollout, nodes).map((gate) => ({ ...gate, isWaived: rollout.waived.includes(gate.gate) })),
    nodes: {
      total: nodes.length,
      released: statuses.filter(({ progress }) => progress !== "waiting").length,
      enforced: statuses.filter(({ progress }) => progress === "enforced").length,
    },
    compared: {
      nodes: shadows.length,
      missing: isUnderWay(rollout) ? listUncompared(rollout, waiting, secondsOf(plan.shadow) * 1000) : [],
      connections: shadows.reduce((sum, { shadow }) => sum + shadow.judged, 0),
    },
    differences: mergeDifferences(shadows.map(({ id, shadow }) => ({ node: id, differences: shadow.differences }))),
    behind: statuses.filter(({ progress }) => progress !== "enforced"),
  };
}

function reportNode(rollout: Rollout, node: RolloutNode, wave: number | null): RolloutNodeStatus {
  const progress = nodeProgress(rollout, node);
  const released = releasedTo(rollout, rollout.revision, node.id);
  const isOlder = progress === "waiting" && node.status?.enforcedRevision === rollout.revision;
  const messages: Readonly<Record<NodeProgress, string | null>> = {
    enforced: null,
    // An agent of a version without rollouts follows head.
    waiting: isOlder ? "it enforces the revision already: its agent may be of a version that knows no rollouts" : null,
    away: "its agent is not alive; it follows when it comes back",
    pending: `it enforces revision ${node.status?.enforcedRevision ?? "-"} so far`,
    unconfirmed: `it has not confirmed it yet, and goes back at ${node.status?.unconfirmed?.until ?? "-"}`,
    reverted: `it went back from it: ${messageOf(node) ?? "-"}`,
    stalled: messageOf(node),
    drifted: messageOf(node),
  };
  return { node: node.id, progress, released, wave: wave === null ? null : wave + 1, message: messages[progress] };
}

/** Returns the end of what it waits for now, if that is known and not over. */
function waitEnd({ state, plan, since, settledSince, wave }: Rollout, now: number): string | null {
  const soak = wavesOf(plan)[wave]?.soak ?? "0s";
  const [from, time] = state === "shadow" ? [since, plan.shadow] : [state === "running" ? settledSince : null, soak];
  if (from === null) return null;
  const end = Date.parse(from) + secondsOf(time) * 1000;
  return end > now ? new Date(end).toISOString() : null;
}

/** Adds up what nodes report of one rule. */
function mergeDifferences(
  reports: readonly { readonly node: string; readonly differences: readonly ShadowDifference[] }[],
): readonly FleetDifference[] {
  const merged = new Map<string, FleetDifference>();
  for (const { node, differences } of reports) {
    for (const { workload, count, ...rule } of differences) {
      const key = JSON.stringify([rule.effect, rule.direction, rule.policy, rule.file, rule.line]);
      const known = merged.get(key) ?? { ...rule, count: 0, workloads: [], nodes: [] };
      const workloads = [...new Set([...known.workloads, workload])].sort();
      const nodes = [...new Set([...known.nodes, node])].sort();
      merged.set(key, { ...known, count: known.count + count, workloads, nodes });
    }
  }
  return [...merged.values()].sort((a, b) => b.count - a.count);
}
