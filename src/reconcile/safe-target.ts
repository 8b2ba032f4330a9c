/** Safe target: what of a revision a node can follow without cutting its own management access. */
import type { ManagementAccess } from "../model/management-access.js";
import type { Ruleset } from "../model/ruleset.js";
import { describeRemaining, describeWithholding, joinReasons, type Withholding } from "../model/withholding.js";
import { listLockouts } from "../policy/lockout.js";
import { makeSafe, newForeignAddresses } from "../policy/withhold.js";
import { EnforcerError } from "../interfaces/enforcer.js";
import { LockoutError } from "./lockout-guard.js";
import { locateWithheld } from "./node-report.js";
import type { Target } from "./target.js";

interface Machine {
  /** Null if it is not known: then nothing can be withheld. */
  readonly inForce: Ruleset | null;
  readonly enforcedRevision: number | null;
  readonly access: ManagementAccess;
}

/** `warning`: what the target cuts although it is followed, since what is in force cuts it, too. */
type SafeTarget = { readonly target: Target } & (
  { readonly withholding: Withholding } | { readonly withholding: null; readonly warning: string }
);

/**
 * @param withhold leaves a part of a target out
 * @throws LockoutError if nothing of it can be followed, or if the backend cannot enforce the rest
 */
export function makeSafeTarget(
  target: Target,
  { inForce, enforcedRevision, access }: Machine,
  withhold: (withholding: Withholding) => Target,
): SafeTarget {
  if (inForce === null) {
    const found = joinReasons(listLockouts(target.ruleset, access, target.clients));
    const message = `not enforced, since it would lock out: ${found}; nothing else of it is enforced either, since the ruleset that an earlier agent left in force is not known; allowLockout lets it`;
    throw new LockoutError(message, false);
  }
  const { ruleset, workloads, kept, remaining } = makeSafe(target.ruleset, inForce, access, target.clients);
  const foreign = newForeignAddresses(ruleset, inForce, access);
  if (foreign.length > 0) {
    const message = `not enforced, since it would lock out: ${joinReasons(foreign)}; nothing else of it is enforced either, since to withhold a workload would not help; allowLockout lets it`;
    throw new LockoutError(message, false);
  }
  if (workloads.length === 0) return { target, withholding: null, warning: describeRemaining(remaining) };
  const withholding = { workloads: locateWithheld(target.revision, workloads), kept, remaining, enforcedRevision };
  try {
    return { target: withhold(withholding), withholding };
  } catch (error) {
    if (!(error instanceof EnforcerError)) throw error;
    const message = `${describeWithholding({ ...withholding, remaining: [] })}; but nothing of it is enforced, since ${error.message}`;
    throw new LockoutError(message, false, { cause: error });
  }
}
