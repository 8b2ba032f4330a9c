/**
 * Commit guard: holds a valid commit of the source until an operator approves it, if it does what a mistake or a stolen
 * right to push would do: delete much, or rewrite signed history. Pure.
 */
import type { DesiredState, Revision } from "../model/state.js";
import { describeDeletion, massDeletion } from "../plan/deletions.js";
import { isUnchanged } from "../plan/plan.js";

export interface CommitCandidate {
  readonly desired: DesiredState;
  readonly tip: string;
  readonly head: Revision | null;
  /** The commit that was accepted last; null before the first. */
  readonly acceptedCommit: string | null;
  /** Whether the accepted commit is not an ancestor of the tip. */
  readonly isRewritten: boolean;
  /** Whether the source requires signed commits. */
  readonly isSigned: boolean;
  /** The commit that an operator approved last; null if none. */
  readonly approvedCommit: string | null;
  /** See `massDeletion`. */
  readonly maxDeletePercent: number;
}

/**
 * Returns why the commit is held, as a sentence; null if it is not held, or if an operator has confirmed this commit.
 */
export function holdReason(candidate: CommitCandidate): string | null {
  const { tip, acceptedCommit, isRewritten, isSigned } = candidate;
  if (isConfirmed(candidate)) return null;
  const short = tip.slice(0, 12);
  if (isRewritten && isSigned)
    return (
      `commit ${short} does not come after the accepted commit ${acceptedCommit?.slice(0, 12) ?? "none"}: ` +
      `history was rewritten or rolled back, and a valid signature does not show that a commit is recent; ${howToConfirm(tip)}`
    );
  const deletion = deletionOf(candidate);
  return deletion === null ? null : `commit ${short} ${deletion}; ${howToConfirm(tip)}`;
}

/**
 * Returns whether an operator confirmed the commit: by an approval, or by an apply of it, after which head holds it.
 */
function isConfirmed({ desired, tip, head, approvedCommit }: CommitCandidate): boolean {
  if (approvedCommit === tip) return true;
  return head !== null && head.source.commit === tip && !head.source.dirty && isUnchanged(desired, head);
}

function deletionOf({ desired, tip, head, acceptedCommit, maxDeletePercent }: CommitCandidate): string | null {
  if (head === null || head.entries.length === 0) return null;
  if (desired.objects.size === 0) return "has no objects";
  // The tip was accepted before; an operator committed something else over it, and head returns to the tip without
  // approval.
  if (tip === acceptedCommit) return null;
  const mass = massDeletion(desired.objects, head.entries, maxDeletePercent);
  return mass === null
    ? null
    : `deletes ${describeDeletion(mass)}, more than source.maxDeletePercent (${maxDeletePercent}) allows`;
}

function howToConfirm(tip: string): string {
  return `if this is intended, run \`ztap cluster approve ${tip}\` or \`ztap apply\` on it`;
}
