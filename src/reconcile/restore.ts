/** Restore: decides which state on this node's disk a start without the store enforces, by what the kernel enforces. */
import { lacksOnlyAttachments } from "../diff/drift.js";
import type { Enforcer, Observation } from "../interfaces/enforcer.js";
import type { Logger } from "../interfaces/system.js";
import { compile } from "../policy/compile/compile.js";
import { makeSafe, newForeignAddresses } from "../policy/withhold.js";
import type { LockoutGuard } from "./lockout-guard.js";
import type { LastGoodSnapshot } from "./snapshot.js";
import type { Target, TargetCompiler } from "./target.js";

interface RestoreDeps {
  readonly enforcer: Pick<Enforcer, "observe">;
  readonly targets: TargetCompiler;
  readonly snapshot: LastGoodSnapshot;
  readonly guard: LockoutGuard;
  readonly logger: Logger;
  /** This boot of this machine; null if it is not known. */
  readonly boot: string | null;
}

export interface Restorable {
  readonly target: Target;
  /** Whether the kernel enforces anything now. */
  readonly isEnforcing: boolean;
}

/**
 * Returns the announced state, whose apply an earlier agent did not end. Null if there is none, or if it may not come into
 * force: another ruleset did since, or a session has come that it would cut.
 * @throws EnforcerError
 */
export async function findAnnounced(deps: RestoreDeps): Promise<Restorable | null> {
  const { snapshot, targets, enforcer, boot } = deps;
  const state = await snapshot.readAnnounced();
  if (state === null) return null;
  const target = await targets.restore(state);
  const observed = await enforcer.observe(target.ruleset);
  // If one of the two is not known, a kernel that enforces nothing counts as rebooted: that is the side that closes more.
  const isRebooted = !observed.isEnforcing && (boot === null || state.boot !== boot);
  if (!isRebooted && !(await mayComplete(deps, target, observed))) return null;
  snapshot.propose(state);
  return { target, isEnforcing: observed.isEnforcing };
}

/**
 * Returns whether a target that was announced in this boot is in force, or is to replace the last-good snapshot: where the
 * kernel enforces this snapshot, or nothing, and the target cuts no connection that the snapshot allows.
 */
async function mayComplete(
  { snapshot, targets, enforcer, guard }: RestoreDeps,
  target: Target,
  { isEnforcing, difference }: Observation,
): Promise<boolean> {
  if (isEnforcing && lacksOnlyAttachments(difference)) return true;
  const state = await snapshot.read();
  const before = state === null ? compile(new Map(), target.ruleset.node) : (await targets.restore(state)).ruleset;
  if (isEnforcing) {
    const observed = await enforcer.observe(before);
    if (!observed.isEnforcing || !lacksOnlyAttachments(observed.difference)) return false;
  }
  const access = await guard.read(target.ruleset);
  if (access === null) return true;
  const isForeign = newForeignAddresses(target.ruleset, before, access).length > 0;
  return !isForeign && makeSafe(target.ruleset, before, access, target.clients).workloads.length === 0;
}

/**
 * Returns the last-good state. Null if there is none, or if the kernel enforces another ruleset: the state may be the older
 * of the two.
 * @throws EnforcerError
 */
export async function findLastGood({ snapshot, targets, enforcer, logger }: RestoreDeps): Promise<Restorable | null> {
  const state = await snapshot.read();
  if (state === null) return null;
  const target = await targets.restore(state);
  const { isEnforcing, difference } = await enforcer.observe(target.ruleset);
  if (!isEnforcing || lacksOnlyAttachments(difference)) return { target, isEnforcing };
  logger.debug("this kernel enforces another ruleset than the copy on this node's disk, which stays");
  return null;
}
