/** The rollout that a commit begins: a pure function, which the store runs within the transaction of the commit. */
import type { Rollout, RolloutPlan } from "../../model/rollout.js";
import { refKey, type ObjectSet } from "../../model/state.js";

/** Returns the rollout of the next revision; null if it goes to all nodes at once. */
export type RolloutStart = (current: Rollout | null, number: number) => Rollout | null;

const CLUSTER = refKey({ kind: "Cluster", namespace: null, name: "cluster" });

/** Returns how a state rolls out the revision after it; null if that goes to all nodes at once. */
export function planOf(objects: ObjectSet): RolloutPlan | null {
  const found = objects.get(CLUSTER)?.object;
  const { waves, shadow, gates, onFailure, freeze } = (found?.kind === "Cluster" && found.spec?.rollout) || {};
  if (waves === undefined || waves.length === 0) return null;
  return { waves, shadow: shadow ?? "0s", gates: gates ?? {}, onFailure: onFailure ?? "revert", freeze: freeze ?? [] };
}

/**
 * Returns the beginning of a rollout for a commit. While an earlier rollout is not complete, its plan counts and its base
 * stays: neither a commit that removes the waves nor one that follows a failed commit gets around them.
 * @param before the state that the commit replaces; null for none
 */
export function startRollout(
  before: ObjectSet | null,
  { commitId, time }: { readonly commitId: string; readonly time: string },
): RolloutStart {
  return (current, number) => {
    const open = current === null || current.state === "complete" ? null : current;
    const plan = open?.plan ?? (before === null ? null : planOf(before));
    if (plan === null || number <= 1) return null;
    return {
      revision: number,
      commitId,
      base: open?.base ?? number - 1,
      layers: open?.layers ?? [],
      state: "shadow",
      wave: -1,
      plan,
      since: time,
      settledSince: null,
      term: null,
      message: null,
      by: null,
      waived: [],
      serial: 1,
    };
  };
}
