/** The nodes of a rollout: which ones a wave releases, and how far each has come. Pure. */
import type { Labels } from "../../model/objects.js";
import { isReleasedTo, releasedNodes, type Rollout, type RolloutPlan, type RolloutWave } from "../../model/rollout.js";
import type { NodeStatus } from "../../model/status.js";
import { matchesSelector } from "../../policy/compile/select.js";

/** A node that is declared, or is a member. */
export interface RolloutNode {
  readonly id: string;
  /** As the base revision describes it; as head does where the base does not. */
  readonly labels: Labels;
  readonly isDeclared: boolean;
  readonly isAlive: boolean;
  /** Null if it has never reported. */
  readonly status: NodeStatus | null;
  /** For how long this leader has seen it live, with the revision released to it, and not done with it. */
  readonly behindMs: number;
}

/** A live node that has not enforced a revision for this long after its release counts as stalled. */
export const LATE_MS = 120_000;
/** The same for one that says that it has not confirmed it: the longest `confirm`, and as much. */
const MOST_UNCONFIRMED_MS = 3_600_000 + LATE_MS;

/**
 * `waiting`: not released. `away`: its agent is not alive. `pending`: it has not followed yet. `unconfirmed`: its trial
 * runs. `reverted`: it went back by itself. `stalled`: it cannot, or has not in time.
 */
export type NodeProgress =
  "waiting" | "away" | "pending" | "unconfirmed" | "enforced" | "drifted" | "reverted" | "stalled";

export function nodeProgress(rollout: Rollout, node: RolloutNode): NodeProgress {
  if (!isReleasedTo(rollout, node.id)) return "waiting";
  const { status, isAlive, isDeclared, behindMs } = node;
  if (!isAlive) return "away";
  const { revision, commitId } = rollout;
  const pending = behindMs > LATE_MS ? "stalled" : "pending";
  if (status === null) return pending;
  if (status.reverted?.commitId === commitId) return "reverted";
  const isEnforced = status.enforcedRevision === revision;
  const isAttempted = status.attemptedRevision === revision;
  // It enforces nothing, whatever it is given.
  if (status.backend === "none") return isAttempted ? "enforced" : pending;
  if (isEnforced && status.unconfirmed?.revision === revision)
    return behindMs > MOST_UNCONFIRMED_MS ? "stalled" : "unconfirmed";
  if (status.state === "Drifted" && isEnforced) return "drifted";
  if (status.state === "Stalled" && isAttempted && (isDeclared || !isEnforced)) return "stalled";
  return isEnforced ? "enforced" : pending;
}

/** Why a node is not done, for people; null if it has said nothing. */
export function messageOf({ status }: RolloutNode): string | null {
  if (status === null) return "it has never reported";
  return status.reverted?.reason ?? status.message ?? status.drift[0]?.detail ?? null;
}

/** Returns the waves with the one that follows of itself: of all nodes that the last one leaves. */
export function wavesOf({ waves }: RolloutPlan): readonly RolloutWave[] {
  const last = waves.at(-1);
  const isWhole = last !== undefined && last.nodes === undefined && last.max === "100%";
  return isWhole ? waves : [...waves, { max: "100%", soak: "0s" }];
}

/** Returns the names of the nodes that a wave selects, sorted, whether they have the revision or not. */
export function selectedBy({ nodes: selector = {} }: RolloutWave, nodes: readonly RolloutNode[]): readonly string[] {
  return nodes
    .filter(({ labels }) => matchesSelector(selector, labels))
    .map(({ id }) => id)
    .sort();
}

/** Returns the names of the nodes that a wave releases in addition, in the order of names. */
export function nextNodes(rollout: Rollout, wave: RolloutWave, nodes: readonly RolloutNode[]): readonly string[] {
  const released = new Set(releasedNodes(rollout));
  const known = nodes.filter(({ id }) => released.has(id)).length;
  const quota = Math.max(0, limitOf(wave.max, nodes.length) - known);
  return selectedBy(wave, nodes)
    .filter((id) => !released.has(id))
    .slice(0, quota);
}

/** A percentage rounds up, so that it is one node at least. */
function limitOf(max: RolloutWave["max"], total: number): number {
  return typeof max === "number" ? max : Math.ceil((total * Number.parseInt(max, 10)) / 100);
}
