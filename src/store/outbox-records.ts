/** Records of what receivers are told: their guards, and how they are written. */
import { isCommitId, isCount, isDigest, isLabel, isPositive, isText, isTime, isToken } from "../model/guards.js";
import { listOf, nullable, oneOf, shaped } from "../model/guards.js";
import {
  COMMIT_STATES,
  MOST_COMMITS,
  MOST_DIAGNOSTICS,
  MOST_RECEIVERS,
  type CommitDeliveries,
  type CommitEvent,
  type CommitReach,
  type Outbox,
  type PendingDelivery,
  type ReceiverOutbox,
} from "../model/outbox.js";
import { StoreError } from "../interfaces/store.js";
import { recordLine } from "../model/printable.js";

const isState = oneOf(...COMMIT_STATES);

const isReach = shaped<CommitReach>({ enforced: isCount, expected: isCount, stalled: isCount, reverted: isCount });

const isEvent = shaped<CommitEvent>({
  id: isToken,
  commit: isCommitId,
  state: isState,
  description: isText,
  revision: nullable(isPositive),
  nodes: nullable(isReach),
  diagnostics: listOf(
    shaped<CommitEvent["diagnostics"][number]>({
      code: isToken,
      file: isText,
      line: isPositive,
      column: isPositive,
      message: isText,
    }),
    MOST_DIAGNOSTICS,
  ),
  source: shaped<CommitEvent["source"]>({ location: isText, ref: nullable(isText), path: nullable(isText) }),
  time: isTime,
});

const isPending = shaped<PendingDelivery>({
  event: isEvent,
  attempts: isCount,
  notBefore: isTime,
  problem: nullable(isText),
});

const isCommitDeliveries = shaped<CommitDeliveries>({
  commit: isCommitId,
  last: nullable(shaped<NonNullable<CommitDeliveries["last"]>>({ state: isState, description: isText, time: isTime })),
  count: isCount,
  pending: nullable(isPending),
  failed: nullable(
    shaped<NonNullable<CommitDeliveries["failed"]>>({
      state: isState,
      description: isText,
      problem: isText,
      time: isTime,
    }),
  ),
});

const isReceiver = shaped<ReceiverOutbox>({
  receiver: isLabel,
  target: isDigest,
  commits: listOf(isCommitDeliveries, MOST_COMMITS),
  delivered: isCount,
  lost: isCount,
});

export const isOutbox = shaped<Outbox>({ receivers: listOf(isReceiver, MOST_RECEIVERS) });

/**
 * Writes the outbox, with its texts for people bounded.
 * @throws StoreError `object-damaged` if it exceeds its bounds
 */
export function encodeOutbox({ receivers }: Outbox): string {
  const outbox = { receivers: receivers.map((one) => ({ ...one, commits: one.commits.map(tidyDeliveries) })) };
  if (!isOutbox(outbox))
    throw new StoreError("object-damaged", "the outbox has a field that no store can return; it was not written");
  return JSON.stringify(outbox);
}

function tidyDeliveries({ last, pending, failed, ...rest }: CommitDeliveries): CommitDeliveries {
  return {
    ...rest,
    last: last === null ? null : { ...last, description: recordLine(last.description) },
    pending:
      pending === null
        ? null
        : {
            ...pending,
            event: tidyEvent(pending.event),
            problem: pending.problem === null ? null : recordLine(pending.problem),
          },
    failed:
      failed === null
        ? null
        : { ...failed, description: recordLine(failed.description), problem: recordLine(failed.problem) },
  };
}

function tidyEvent(event: CommitEvent): CommitEvent {
  return {
    ...event,
    description: recordLine(event.description),
    diagnostics: event.diagnostics.map((one) => ({
      ...one,
      file: recordLine(one.file),
      message: recordLine(one.message),
    })),
  };
}
