/**
 * What a commit of the source waits for somebody's word for: everything in it is valid, and it does what a mistake, or
 * somebody who has stolen the right to push, would do. Pure.
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
  /** Whether the accepted commit is no ancestor of the tip. */
  readonly isRewritten: boolean;
  /** Whether commits have to be signed. */
  readonly isSigned: boolean;
  /** The commit that somebody has approved. */
  readonly approvedCommit: string | null;
  /** See `massDeletion`. */
  readonly maxDeletePercent: number;
}

/** Why the commit is held, as a sentence; null where it is not, or somebody has confirmed this very commit. */
export function holdReason(candidate: CommitCandidate): string | null {
  const { tip, acceptedCommit, isRewritten, isSigned } = candidate;
  if (isConfirmed(candidate)) return null;
  const short = tip.slice(0, 12);
  if (isRewritten && isSigned)
    return (
      `commit ${short} does not come after the accepted commit ${acceptedCommit?.slice(0, 12) ?? "none"}: ` +
      `history was rewritten, or went back, and what was signed once may be old; ${howToConfirm(tip)}`
    );
  const deletion = deletionOf(candidate);
  return deletion === null ? null : `commit ${short} ${deletion}; ${howToConfirm(tip)}`;
}

/** By an approval, or by an apply of exactly this commit, which is what head then holds. */
function isConfirmed({ desired, tip, head, approvedCommit }: CommitCandidate): boolean {
  if (approvedCommit === tip) return true;
  return head !== null && head.source.commit === tip && !head.source.dirty && isUnchanged(desired, head);
}

function deletionOf({ desired, tip, head, acceptedCommit, maxDeletePercent }: CommitCandidate): string | null {
  if (head === null || head.entries.length === 0) return null;
  if (desired.objects.size === 0) return "has no objects at all";
  // What an operator committed over an accepted commit is given back without asking.
  if (tip === acceptedCommit) return null;
  const mass = massDeletion(desired.objects, head.entries, maxDeletePercent);
  return mass === null
    ? null
    : `deletes ${describeDeletion(mass)}, more than source.maxDeletePercent (${maxDeletePercent}) allows`;
}

function howToConfirm(tip: string): string {
  return `if that is meant, run \`ztap cluster approve ${tip}\` or \`ztap apply\` on it`;
}
