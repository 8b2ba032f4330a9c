/**
 * The outbox as a value: what a report adds to it, what is due, and what came of an attempt. For each receiver and commit at
 * most one event waits; a newer one replaces it. Pure.
 */
import type { DeliveryOutcome, DeliveryTarget } from "../../interfaces/delivery.js";
import {
  MOST_COMMITS,
  type CommitDeliveries,
  type CommitEvent,
  type CommitReport,
  type Outbox,
  type ReceiverOutbox,
} from "../../model/outbox.js";

/** Between two events about one commit. It doubles with every ten: a state that changes all the time is no flood. */
const DISTANCE_MS = 10_000;
/** Between two events that say the same state in other words. */
const WORDS_DISTANCE_MS = 30_000;
const MOST_DISTANCE_MS = 3_600_000;
const BACKOFF_MIN_MS = 1_000;
const BACKOFF_MAX_MS = 300_000;
const MOST_RETRY_AFTER_MS = 3_600_000;
/** An event that could not be delivered for so long is given up. */
const GIVE_UP_MS = 24 * 3_600_000;

export const EMPTY_OUTBOX: Outbox = { receivers: [] };

export interface Lost {
  readonly receiver: string;
  readonly event: CommitEvent;
  readonly problem: string;
}

/** Another outbox, and what is not told any more. */
export interface Changed {
  readonly outbox: Outbox;
  readonly lost: readonly Lost[];
}

type Target = Pick<DeliveryTarget, "name" | "target" | "events" | "showsLast">;

/** Keeps what is of these receivers. One that has moved is told again what it has to know. */
export function withReceivers(outbox: Outbox, targets: readonly Target[]): Changed {
  const lost: Lost[] = [];
  const drop = ({ receiver, commits }: ReceiverOutbox, problem: string): number => {
    const dropped = commits.flatMap(({ pending }) => pending ?? []);
    for (const { event } of dropped) lost.push({ receiver, event, problem });
    return dropped.length;
  };
  for (const one of outbox.receivers)
    if (!targets.some(({ name }) => name === one.receiver)) drop(one, "it is no longer among the receivers");
  const receivers = targets.map(({ name, target }): ReceiverOutbox => {
    const known = outbox.receivers.find(({ receiver }) => receiver === name);
    if (known === undefined) return { receiver: name, target, commits: [], delivered: 0, lost: 0 };
    if (known.target === target) return known;
    return { ...known, target, commits: [], lost: known.lost + drop(known, "the receiver has moved") };
  });
  const isSame =
    receivers.length === outbox.receivers.length && receivers.every((one, at) => one === outbox.receivers[at]);
  return { outbox: isSame ? outbox : { receivers }, lost };
}

/** Adds a report for each receiver that it is news to. */
export function withReport(
  outbox: Outbox,
  targets: readonly Target[],
  report: CommitReport,
  { now, newId }: { readonly now: number; readonly newId: () => string },
): Changed {
  const lost: Lost[] = [];
  const receivers = outbox.receivers.map((receiver): ReceiverOutbox => {
    const target = targets.find(({ name }) => name === receiver.receiver);
    const known = receiver.commits.find(({ commit }) => commit === report.commit) ?? unknown(report.commit);
    if (target === undefined || !isNews(known, report, target)) return receiver;
    const event = { ...report, id: newId(), time: timeOf(now) };
    const commits = [
      { ...known, pending: { ...nextAttempt(known, report, now), event } },
      ...receiver.commits.filter(({ commit }) => commit !== report.commit),
    ];
    const dropped = commits.slice(MOST_COMMITS).flatMap(({ pending }) => pending ?? []);
    for (const { event } of dropped)
      lost.push({ receiver: receiver.receiver, event, problem: "newer commits took its place" });
    return { ...receiver, commits: commits.slice(0, MOST_COMMITS), lost: receiver.lost + dropped.length };
  });
  const isSame = receivers.every((one, at) => one === outbox.receivers[at]);
  return { outbox: isSame ? outbox : { receivers }, lost };
}

function unknown(commit: string): CommitDeliveries {
  return { commit, last: null, count: 0, pending: null, failed: null };
}

function isNews(known: CommitDeliveries, report: CommitReport, { events, showsLast }: Target): boolean {
  if (!events.includes(report.state)) return false;
  const said = known.pending?.event ?? newer(known);
  // A node that is new, or late with something else, does not make a commit that has arrived one that is on its way.
  if (said?.state === "enforced" && report.state === "accepted" && !showsLast) return false;
  if (said?.state !== report.state) return true;
  // An event that waits is made up to date in any case.
  return said.description !== report.description && (showsLast || known.pending !== null);
}

/** What was said last, whether or not it was accepted. */
function newer({ last, failed }: CommitDeliveries): CommitDeliveries["last"] {
  if (last === null || failed === null) return last ?? failed;
  return failed.time > last.time ? failed : last;
}

/** An event that takes the place of another one waits for as long as that. */
function nextAttempt(
  known: CommitDeliveries,
  report: CommitReport,
  now: number,
): { readonly attempts: number; readonly notBefore: string; readonly problem: string | null } {
  const { pending, last, count } = known;
  if (pending !== null) {
    const { attempts, notBefore, problem } = pending;
    const isOtherState = attempts === 0 && pending.event.state !== report.state;
    return { attempts, notBefore: isOtherState ? earliest(known, report, now) : notBefore, problem };
  }
  return {
    attempts: 0,
    notBefore: last === null || count === 0 ? timeOf(now) : earliest(known, report, now),
    problem: null,
  };
}

function earliest({ last, count }: CommitDeliveries, { state }: CommitReport, now: number): string {
  if (last === null) return timeOf(now);
  const base = last.state === state ? WORDS_DISTANCE_MS : DISTANCE_MS;
  const distance = Math.min(MOST_DISTANCE_MS, base * 2 ** Math.min(20, Math.floor(count / 10)));
  return timeOf(Math.max(now, Date.parse(last.time) + distance));
}

export interface Due {
  readonly receiver: string;
  readonly event: CommitEvent;
}

/** Returns one event for each receiver for which one is due, that of the oldest commit. */
export function dueEvents(outbox: Outbox, now: number): readonly Due[] {
  return outbox.receivers.flatMap(({ receiver, commits }) => {
    const due = commits.findLast(({ pending }) => pending !== null && isDue(pending.notBefore, now));
    const event = due?.pending?.event;
    return event === undefined ? [] : [{ receiver, event }];
  });
}

/** A time that no delay of ztap's reaches was written by another clock. */
function isDue(notBefore: string, now: number): boolean {
  const time = Date.parse(notBefore);
  return time <= now || time > now + 2 * MOST_RETRY_AFTER_MS;
}

/** What came of an attempt. */
export interface Attempt extends Due {
  readonly outcome: DeliveryOutcome;
}

/** @param chance [0, 1): spreads retries */
export function withAttempt(outbox: Outbox, attempt: Attempt, now: number, chance: number): Changed {
  const lost: Lost[] = [];
  const { event } = attempt;
  const receivers = outbox.receivers.map((receiver): ReceiverOutbox => {
    if (receiver.receiver !== attempt.receiver) return receiver;
    const known = receiver.commits.find(({ commit }) => commit === event.commit);
    if (known === undefined) return receiver;
    const next = afterAttempt(known, attempt, now, chance);
    if (next === known) return receiver;
    const isLost = next.failed !== null && next.failed !== known.failed;
    if (isLost) lost.push({ receiver: receiver.receiver, event, problem: next.failed.problem });
    return {
      ...receiver,
      commits: receiver.commits.map((one) => (one === known ? next : one)),
      delivered: receiver.delivered + (attempt.outcome.outcome === "delivered" ? 1 : 0),
      lost: receiver.lost + (isLost ? 1 : 0),
    };
  });
  return { outbox: { receivers }, lost };
}

function afterAttempt(
  known: CommitDeliveries,
  { event, outcome }: Attempt,
  now: number,
  chance: number,
): CommitDeliveries {
  const { id, state, description } = event;
  const time = timeOf(now);
  const { pending } = known;
  // A newer event may have taken its place while it was sent.
  const isCurrent = pending?.event.id === id;
  if (outcome.outcome === "delivered") {
    const told = { ...known, last: { state, description, time }, count: known.count + 1, failed: null };
    if (pending === null || isCurrent) return { ...told, pending: null };
    if (pending.event.state === state && pending.event.description === description) return { ...told, pending: null };
    return {
      ...told,
      pending: { ...pending, attempts: 0, problem: null, notBefore: earliest(told, pending.event, now) },
    };
  }
  if (pending === null || !isCurrent) return known;
  const { problem } = outcome;
  if (outcome.outcome === "refused" || now - Date.parse(event.time) > GIVE_UP_MS)
    return { ...known, pending: null, failed: { state, description, problem, time } };
  const attempts = pending.attempts + 1;
  const delayMs = Math.max(backoffMs(attempts, chance), Math.min(MOST_RETRY_AFTER_MS, outcome.retryAfterMs ?? 0));
  return { ...known, pending: { ...pending, attempts, problem, notBefore: timeOf(now + delayMs) } };
}

function backoffMs(attempts: number, chance: number): number {
  return Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** Math.min(attempts - 1, 20)) * (0.5 + chance / 2);
}

function timeOf(now: number): string {
  return new Date(now).toISOString();
}
