/** Who owns the state: where a leader polls a source, Git does, and whoever commits something else has to say so. */
import type { SourceRef } from "../../model/state.js";
import type { Store } from "../../interfaces/store.js";
import { OperationError } from "../../model/operation-error.js";

/**
 * @param source what is to be committed; the source's own tip needs no override, unless it is not signed as it has to be
 * @returns whether this is committed over what Git says
 * @throws OperationError `override-needed`
 */
export async function requireOverride(store: Store, source: SourceRef, override: boolean): Promise<boolean> {
  const owner = await store.readSourceStatus();
  if (owner === null) return false;
  // What the leader refuses for want of a signature is nobody's word yet.
  const isRefused = owner.unverified !== undefined;
  if (!isRefused && source.commit !== null && !source.dirty && source.commit === owner.observedCommit) return false;
  if (override) return true;
  const { suspension } = await store.readSourceControl();
  const end = suspension === null ? "the next poll" : "the source is no longer suspended";
  throw new OperationError(
    "override-needed",
    `${owner.location} owns this state (the leader polls it, last at commit ${owner.observedCommit?.slice(0, 12) ?? "none"}); ` +
      `push there instead, or use --override to commit over it until ${end}`,
  );
}
