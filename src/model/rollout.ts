/** Rollout: which nodes enforce which revision, while a new one reaches the nodes wave by wave. */
import type { LabelSelector } from "./objects.js";

/** Nodes that a wave releases. */
export interface RolloutWave {
  /** Nodes with these labels; absent: all. */
  readonly nodes?: LabelSelector;
  /** How many nodes have the revision in the end, of all: a number, or a percentage such as `10%`. */
  readonly max: number | string;
  /** How long it is watched once its nodes enforce the revision: a number, and `s`. */
  readonly soak: string;
}

/** What fails a rollout where there is more of it; absent: not looked at. */
export interface RolloutGates {
  /** Connections that the revision would deny on the nodes that wait for it. */
  readonly newDenials?: number;
  /** Nodes with the revision that cannot enforce it, or have not in time. */
  readonly stalled?: number;
  /** Nodes with the revision whose kernel differs from it. */
  readonly drift?: number;
  /** Nodes with the revision that went back from it. */
  readonly unconfirmed?: number;
}

export const GATES = ["newDenials", "stalled", "drift", "unconfirmed"] as const satisfies (keyof RolloutGates)[];
export type GateName = (typeof GATES)[number];

export const WEEKDAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"] as const;

/** No wave begins within: every week, by the clock of a time zone. */
export interface FreezeWindow {
  /** `Fri 16:00`. */
  readonly from: string;
  readonly to: string;
  /** Of the IANA database, such as `Europe/Berlin`. */
  readonly timezone: string;
}

/** How a revision reaches the nodes: `Cluster.spec.rollout` without what each node decides for itself. */
export interface RolloutPlan {
  readonly waves: readonly RolloutWave[];
  /** How long every node compares the revision with live traffic before the first wave: a number, and `s`. */
  readonly shadow: string;
  readonly gates: RolloutGates;
  readonly onFailure: "revert" | "pause";
  readonly freeze: readonly FreezeWindow[];
}

export interface RolloutLayer {
  readonly revision: number;
  /** As in Revision. */
  readonly commitId: string;
  /** Sorted. */
  readonly nodes: readonly string[];
}

/**
 * `shadow`: before the first wave. `complete`: released to every node. `failed`: a gate failed; without layers every node
 * has gone back. `aborted`: an operator took it back.
 */
export const ROLLOUT_STATES = ["shadow", "running", "paused", "failed", "aborted", "complete"] as const;
export type RolloutState = (typeof ROLLOUT_STATES)[number];

/** The record of the last rollout. The store has at most one; it is of head. */
export interface Rollout {
  /** The revision that is rolled out, or was. Always head. */
  readonly revision: number;
  readonly commitId: string;
  /**
   * The last revision before that was released to every node: nodes without a layer enforce it, unless this one is complete.
   * It stays to the end: an undo goes back to it.
   */
  readonly base: number;
  /** Newest first: a node enforces the first one that lists it, and no node is in two. */
  readonly layers: readonly RolloutLayer[];
  readonly state: RolloutState;
  /** Index of the newest released wave; -1 before the first. */
  readonly wave: number;
  /** Of the base revision: what a commit says about rollouts counts once it is released to every node. */
  readonly plan: RolloutPlan;
  /** RFC 3339, UTC: since then this wave or state is watched by the leader that is named by `term`. */
  readonly since: string;
  /** RFC 3339, UTC: since then all live nodes of the wave enforce the revision; null before. */
  readonly settledSince: string | null;
  /** The term of the leader whose clock gave the times; null: an operator's, or a committer's. */
  readonly term: number | null;
  /** Why it failed, or is held, for people. */
  readonly message: string | null;
  /** The operator of the last pause, resume, promote or abort. */
  readonly by: string | null;
  /** Gates that an operator went over for the newest wave. */
  readonly waived: readonly GateName[];
  /** Rises with each write, for comparing and setting. */
  readonly serial: number;
}

/** Head, and the rollout of it; null if there is none. Read at once. */
export interface Release {
  readonly head: number | null;
  readonly rollout: Rollout | null;
}

/** Returns the revision that a node must enforce. Without a rollout: head. */
export function releasedTo(rollout: Rollout | null, head: number, node: string): number {
  if (rollout === null || rollout.state === "complete") return head;
  return layerOf(rollout, node)?.revision ?? rollout.base;
}

/**
 * Returns the newer revision that this node waits for, to compare it with live traffic; null if there is none, or if it was aborted. One
 * that failed is compared on: whoever looks for the reason sees what it would cut.
 */
export function awaitedBy(rollout: Rollout | null, head: number, node: string): number | null {
  if (rollout === null || rollout.state === "aborted" || rollout.state === "complete") return null;
  return releasedTo(rollout, head, node) === rollout.revision ? null : rollout.revision;
}

/** Whether it goes on, or would if it were not paused. */
export function isUnderWay({ state }: Rollout): boolean {
  return state === "shadow" || state === "running" || state === "paused";
}

/** Whether this node has its revision. */
export function isReleasedTo(rollout: Rollout, node: string): boolean {
  return releasedTo(rollout, rollout.revision, node) === rollout.revision;
}

/** The nodes that have its revision; of a complete one they are not listed. */
export function releasedNodes({ layers, revision }: Rollout): readonly string[] {
  return layers.find((layer) => layer.revision === revision)?.nodes ?? [];
}

function layerOf({ layers }: Rollout, node: string): RolloutLayer | undefined {
  return layers.find(({ nodes }) => nodes.includes(node));
}
