/** Operators pause, resume, promote and abort a rollout: by comparing and setting, so that it needs no leader. */
import { isUnderWay, type Rollout } from "../../model/rollout.js";
import type { Suspension } from "../../model/source-control.js";
import { OperationError } from "../../model/operation-error.js";
import * as steps from "../../plan/rollout/steps.js";
import type { Store } from "../../interfaces/store.js";
import type { Clock } from "../../interfaces/system.js";
import { resumeSource } from "../cluster/source-control.js";
import { readRolloutNodes, RolloutDescriptions } from "./nodes.js";

export interface RolloutControlDeps {
  readonly store: Store;
  readonly clock: Clock;
}

const ATTEMPTS = 8;

/** @throws OperationError `not-found`, `usage` if it is not under way */
export async function pauseRollout(deps: RolloutControlDeps, by: string): Promise<Rollout> {
  return change(deps, async (rollout) => {
    if (rollout.state === "paused") throw new OperationError("usage", describeState(rollout));
    requireUnderWay(rollout);
    return steps.pause(rollout, { by, now: deps.clock.now() });
  });
}

/** @throws OperationError `not-found`, `usage` if it is complete or aborted */
export async function abortRollout(deps: RolloutControlDeps, by: string): Promise<Rollout> {
  return change(deps, async (rollout) => {
    if (rollout.state !== "failed") requireUnderWay(rollout);
    return steps.abort(rollout, { by, now: deps.clock.now() });
  });
}

export interface Resumed {
  /** The suspension of the source that was ended; null for none. */
  readonly suspension: Suspension | null;
  /** The rollout that goes on; null if none was paused. */
  readonly rollout: Rollout | null;
  /** A rollout that failed, and was left so; null for none. */
  readonly failed: Rollout | null;
}

/**
 * Ends the suspension of the source, and a pause of the rollout.
 * @param retry whether to try a rollout again that failed
 */
export async function resumeAll(deps: RolloutControlDeps, by: string, retry: boolean): Promise<Resumed> {
  const suspension = await resumeSource(deps.store);
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const { rollout } = await deps.store.readRelease();
    const isResumed = rollout?.state === "paused" || (retry && rollout?.state === "failed");
    if (rollout === null || !isResumed)
      return { suspension, rollout: null, failed: rollout?.state === "failed" ? rollout : null };
    const next = steps.resume(rollout, { by, now: deps.clock.now() });
    if (await deps.store.writeRollout(next, { expect: rollout, fence: null }))
      return { suspension, rollout: next, failed: null };
  }
  throw lostRace();
}

export interface Promotion extends steps.Promoted {
  /** Whether every node has the revision now. */
  readonly isComplete: boolean;
}

/**
 * Promotes the rollout as it is found: the operator means its revision and its next wave, and no later one.
 * @throws OperationError `not-found`, `usage` if it is complete or aborted, `lost-race` if another wave or revision came meanwhile
 */
export async function promoteRollout(
  deps: RolloutControlDeps,
  order: { readonly by: string; readonly all: boolean },
): Promise<Promotion> {
  let over: readonly string[] = [];
  let meant: Rollout | null = null;
  const rollout = await change(deps, async (found) => {
    meant ??= found;
    if (found.commitId !== meant.commitId || found.wave !== meant.wave)
      throw new OperationError("lost-race", `${describeState(found)} by now; nothing was promoted, look again`);
    if (found.state !== "failed") requireUnderWay(found);
    const nodes = await readRolloutNodes(deps.store, await RolloutDescriptions.read(deps.store, found));
    const watched = nodes.map((node) => ({ ...node, behindMs: 0 }));
    const promoted = steps.promote(found, watched, { ...order, now: deps.clock.now() });
    over = promoted.over;
    return promoted.rollout;
  });
  return { rollout, over, isComplete: rollout.state === "complete" };
}

async function change({ store }: RolloutControlDeps, step: (rollout: Rollout) => Promise<Rollout>): Promise<Rollout> {
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const { head, rollout } = await store.readRelease();
    if (head === null) throw new OperationError("not-found", "the store has no revision, and so no rollout");
    if (rollout === null)
      throw new OperationError(
        "not-found",
        `revision ${head} went to all nodes at once: there is no rollout; Cluster.spec.rollout.waves makes them for the revisions after it`,
      );
    const next = await step(rollout);
    if (await store.writeRollout(next, { expect: rollout, fence: null })) return next;
  }
  throw lostRace();
}

function lostRace(): OperationError {
  return new OperationError(
    "lost-race",
    `the rollout changed ${ATTEMPTS} times meanwhile; nothing was done, try again`,
  );
}

/** @throws OperationError `usage` */
function requireUnderWay(rollout: Rollout): void {
  if (!isUnderWay(rollout)) throw new OperationError("usage", describeState(rollout));
}

function describeState({ state, revision, message }: Rollout): string {
  return `the rollout of revision ${revision} is ${state}${message === null ? "" : `: ${message}`}`;
}
