/** What receivers of notifications are yet to be told, from the outbox of the leader. Pure. */
import type { Outbox, ReceiverOutbox } from "../../model/outbox.js";

export interface ReceiverStatus {
  readonly receiver: string;
  /** Events that wait. */
  readonly pending: number;
  /** Since when the oldest does, RFC 3339, UTC; null if none waits. */
  readonly since: string | null;
  /** Why the last attempt failed, or why the last event is not told any more; null if all is well. */
  readonly problem: string | null;
  /** Events that it accepted. */
  readonly delivered: number;
  /** Events that it is not told any more. */
  readonly lost: number;
}

export function listReceivers(outbox: Outbox | null): readonly ReceiverStatus[] {
  return (outbox?.receivers ?? []).map(toStatus);
}

function toStatus({ receiver, commits, delivered, lost }: ReceiverOutbox): ReceiverStatus {
  const pending = commits.flatMap((one) => one.pending ?? []);
  const [since = null] = pending.map(({ event }) => event.time).toSorted();
  const waiting = pending.find(({ problem }) => problem !== null)?.problem ?? null;
  const [last] = commits;
  const failed = last?.failed ?? null;
  const refused =
    failed === null ? null : `not told that ${last?.commit.slice(0, 12)} is ${failed.state}: ${failed.problem}`;
  return { receiver, pending: pending.length, since, problem: waiting ?? refused, delivered, lost };
}
