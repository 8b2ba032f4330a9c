/**
 * Ownership of the state: if a leader polls a source, Git owns the state, and an operator who commits something else
 * must confirm it.
 */
import type { SourceRef } from "../../model/state.js";
import type { Store } from "../../interfaces/store.js";
import { OperationError } from "../../model/operation-error.js";

/**
 * Checks the ownership.
 * @param source the source to commit; the tip of the polled source needs no override, unless it lacks a required
 * signature
 * @returns whether the commit overrides the state in Git
 * @throws OperationError `override-needed`
 */
export async function requireOverride(store: Store, source: SourceRef, override: boolean): Promise<boolean> {
  const owner = await store.readSourceStatus();
  if (owner === null) return false;
  // A commit that the leader refused for a missing signature has no authority yet.
  const isRefused = owner.unverified !== undefined;
  if (!isRefused && source.commit !== null && !source.dirty && source.commit === owner.observedCommit) return false;
  if (override) return true;
  const { suspension } = await store.readSourceControl();
  const end = suspension === null ? "the next poll" : "the source is no longer suspended";
  const isThere = source.location === owner.location && source.commit !== null && !source.dirty;
  const advice = isThere
    ? `if ${source.commit.slice(0, 12)} is its tip, the leader takes it at its next poll by itself; --override commits it now`
    : `push there instead, or use --override to commit over it until ${end}`;
  throw new OperationError(
    "override-needed",
    `${owner.location} owns this state (the leader polls it, last at commit ${owner.observedCommit?.slice(0, 12) ?? "none"}); ${advice}`,
  );
}
