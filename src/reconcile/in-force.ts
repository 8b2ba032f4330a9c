/**
 * InForce: what an agent knows of what its machine enforces. A value: each observation of a target gives the next one.
 *
 * A target comes into force in two steps. Once it is switched to, its tables decide, and the ruleset before has no part in it
 * any more. It is complete once nothing is missing, no attachment either.
 */
import type { Ruleset } from "../model/ruleset.js";
import type { Revision } from "../model/state.js";
import type { SubjectStatus } from "../model/status.js";
import type { Target } from "./target.js";

interface Complete {
  /** The last revision that was complete as a whole; null if a part of each was withheld. */
  readonly revision: number | null;
  /** Digest of the ruleset. */
  readonly digest: string;
  /** The workloads at that time, with their cgroups. */
  readonly subjects: readonly SubjectStatus[];
}

export class InForce {
  /** Before the first observation. */
  static readonly UNKNOWN = new InForce(null, null);

  private constructor(
    /** What was switched to last: the machine is kept to it while head cannot be enforced. Null if that is not known. */
    readonly target: Target | null,
    /** What was complete last: this target, or the last one before it that was. */
    readonly complete: Complete | null,
  ) {}

  switchTo(target: Target): InForce {
    return new InForce(target, this.complete);
  }

  completeWith(target: Target, subjects: readonly SubjectStatus[]): InForce {
    const { revision, ruleset, withholding } = target;
    const number = withholding === null ? revision.number : withholding.enforcedRevision;
    return new InForce(target, { revision: number, digest: ruleset.digest, subjects });
  }

  /** Returns whether the target that was switched to is of this revision. */
  isOf({ commitId }: Revision): boolean {
    return this.target?.revision.commitId === commitId;
  }

  /** Returns whether this ruleset is the one that was switched to. */
  decidesBy({ digest }: Ruleset): boolean {
    return this.target?.ruleset.digest === digest;
  }

  /** Returns whether this ruleset is the one that was switched to, and was complete: what it lacks now was taken away. */
  wasComplete(ruleset: Ruleset): boolean {
    return this.decidesBy(ruleset) && this.complete?.digest === ruleset.digest;
  }
}
