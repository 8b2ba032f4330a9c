/** Source control: operators suspend the source for a while, resume it, or approve a held commit. */
import type { Approval, Suspension } from "../../model/source-control.js";
import { readSound } from "./damage.js";
import type { Store } from "../../interfaces/store.js";
import type { Clock } from "../../interfaces/system.js";
import { OperationError } from "../../model/operation-error.js";

interface SourceControlDeps {
  readonly store: Store;
  readonly clock: Clock;
}

export interface SourceControlRequest {
  /** The operator, `user@host`. */
  readonly by: string;
  readonly reason: string;
}

/**
 * Suspends the source; replaces a suspension that is in force.
 * @param forMs duration after which it ends by itself; null if only an operator ends it
 * @throws OperationError `usage`, `not-found` if the store is not in use
 */
export async function suspendSource(
  { store, clock }: SourceControlDeps,
  { by, reason }: SourceControlRequest,
  forMs: number | null,
): Promise<Suspension> {
  if (reason.trim() === "")
    throw new OperationError("usage", "--reason is empty: give a reason for the other operators");
  if (!(await isInUse(store)))
    throw new OperationError(
      "not-found",
      "this store has no revision, no source and no node, so that nothing was suspended; to use another store, give --store",
    );
  const now = clock.now();
  const since = new Date(now).toISOString();
  const until = forMs === null ? null : new Date(now + forMs).toISOString();
  const suspension = { by, reason, since, until };
  await store.writeSuspension(suspension);
  return suspension;
}

/** Returns whether the store was ever written to: a mistyped name would look like a store that is not in use yet. */
async function isInUse(store: Store): Promise<boolean> {
  const [head, source, members, heartbeats] = await Promise.all([
    store.readHead(),
    readSound(store.readSourceStatus()),
    store.listMembers(),
    store.listHeartbeats(),
  ]);
  return (
    head !== null || source.value !== null || source.damage !== null || members.length > 0 || heartbeats.length > 0
  );
}

/**
 * Ends the suspension.
 * @returns the suspension that was in force; null for none
 */
export async function resumeSource(store: Store): Promise<Suspension | null> {
  const { suspension } = await store.readSourceControl();
  await store.writeSuspension(null);
  return suspension;
}

/**
 * Approves a commit. Only the commit that the leader saw last can be approved, so that a typing error, or a commit that
 * was pushed meanwhile, is reported at once.
 * @throws OperationError `usage`, `not-found`, `unverified`
 */
export async function approveCommit(
  { store, clock }: SourceControlDeps,
  commit: string,
  order: SourceControlRequest,
): Promise<Approval> {
  if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(commit))
    throw new OperationError("usage", `${JSON.stringify(commit)} is not a full commit id`);
  const source = await store.readSourceStatus();
  if (source === null)
    throw new OperationError("not-found", "no source is polled for this store, so that nothing is held");
  if (source.observedCommit !== commit)
    throw new OperationError(
      "not-found",
      `the leader has not seen commit ${commit} at the tip of ${source.location}, but ${source.observedCommit ?? "none"}; ` +
        "review that commit before you approve it",
    );
  if (source.unverified !== undefined)
    throw new OperationError(
      "unverified",
      `${source.message ?? "a commit is not signed"}; an approval does not replace a signature`,
    );
  const approval = { commit, ...order, time: new Date(clock.now()).toISOString() };
  await store.writeApproval(approval);
  return approval;
}
