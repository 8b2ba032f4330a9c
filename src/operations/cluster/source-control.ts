/** What an operator tells whoever leads: to leave the source alone for a while, or to follow a commit that is held. */
import type { Approval, Suspension } from "../../model/source-control.js";
import type { Store } from "../../interfaces/store.js";
import type { Clock } from "../../interfaces/system.js";
import { OperationError } from "../../model/operation-error.js";

interface SourceControlDeps {
  readonly store: Store;
  readonly clock: Clock;
}

export interface SourceControlRequest {
  /** Who: `user@host`. */
  readonly by: string;
  readonly reason: string;
}

/**
 * A suspension that is in force is replaced.
 * @param forMs after so long it ends by itself; null for not before it is ended
 * @throws OperationError `usage`, `not-found` where the store is not in use
 */
export async function suspendSource(
  { store, clock }: SourceControlDeps,
  { by, reason }: SourceControlRequest,
  forMs: number | null,
): Promise<Suspension> {
  if (reason.trim() === "") throw new OperationError("usage", "--reason is empty: say why, for those who find it so");
  if (!(await isInUse(store)))
    throw new OperationError(
      "not-found",
      "this store has no revision, no source and no node, so that nothing was suspended; is it the right one? --store names another",
    );
  const now = clock.now();
  const since = new Date(now).toISOString();
  const until = forMs === null ? null : new Date(now + forMs).toISOString();
  const suspension = { by, reason, since, until };
  await store.writeSuspension(suspension);
  return suspension;
}

/** Whether anybody has ever written to it: a name with a slip in it would seem to be a store that nobody uses yet. */
async function isInUse(store: Store): Promise<boolean> {
  const [head, source, members, heartbeats] = await Promise.all([
    store.readHead(),
    store.readSourceStatus(),
    store.listMembers(),
    store.listHeartbeats(),
  ]);
  return head !== null || source !== null || members.length > 0 || heartbeats.length > 0;
}

/** @returns what was in force; null for nothing */
export async function resumeSource(store: Store): Promise<Suspension | null> {
  const { suspension } = await store.readSourceControl();
  await store.writeSuspension(null);
  return suspension;
}

/**
 * Only the commit that the leader has seen last can be approved: a slip of the pen, or a commit that was pushed over
 * meanwhile, is told at once.
 * @throws OperationError `usage`, `not-found`, `unverified`
 */
export async function approveCommit(
  { store, clock }: SourceControlDeps,
  commit: string,
  order: SourceControlRequest,
): Promise<Approval> {
  if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(commit))
    throw new OperationError("usage", `${JSON.stringify(commit)} is no full commit id, which alone says what is meant`);
  const source = await store.readSourceStatus();
  if (source === null)
    throw new OperationError("not-found", "no source is polled for this store, so that nothing is held");
  if (source.observedCommit !== commit)
    throw new OperationError(
      "not-found",
      `the leader has not seen commit ${commit} at the tip of ${source.location}, but ${source.observedCommit ?? "none"}; ` +
        "look at what that does before you approve it",
    );
  if (source.unverified !== undefined)
    throw new OperationError(
      "unverified",
      `${source.message ?? "a commit is not signed"}; an approval is no signature`,
    );
  const approval = { commit, ...order, time: new Date(clock.now()).toISOString() };
  await store.writeApproval(approval);
  return approval;
}
