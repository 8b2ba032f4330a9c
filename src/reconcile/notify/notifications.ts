/**
 * Notifications: tells receivers what became of the source's commits. The leader alone does, and under its fence: an event is
 * in the outbox before it is sent, and leaves it after it was accepted, so that the next leader sends what is left, and at
 * worst sends something twice, with the same id. No receiver delays another one, nor any other loop.
 */
import type { DeliveryOutcome, DeliveryTarget } from "../../interfaces/delivery.js";
import { Notifier } from "../../interfaces/notifier.js";
import { StoreError, type Fence, type Store } from "../../interfaces/store.js";
import type { Clock, Logger, Random } from "../../interfaces/system.js";
import type { Telemetry } from "../../interfaces/telemetry.js";
import type { CommitReport, Outbox } from "../../model/outbox.js";
import type { SourceStatus } from "../../model/status.js";
import { readClusterStatus } from "../../operations/cluster/membership.js";
import type { Election } from "../election.js";
import {
  dueEvents,
  EMPTY_OUTBOX,
  withAttempt,
  withReceivers,
  withReport,
  type Attempt,
  type Changed,
  type Due,
  type Lost,
} from "./outbox.js";
import { reportCommit } from "./report.js";

export interface NotificationsDeps {
  readonly store: Store;
  readonly election: Pick<Election, "fence">;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly telemetry: Pick<Telemetry, "delivered" | "deliveryFailed" | "deliveriesLost" | "deliveriesPending">;
}

/** How often the nodes are looked at while a commit is on its way, and when it has arrived. */
const UNDERWAY_MS = 2_000;
const ARRIVED_MS = 10_000;

/** For how long a store that lets this node lead and not write the outbox is left alone. */
const BARRED_MS = 300_000;

/** One term of this process as leader. */
interface Term {
  readonly fence: Fence;
  outbox: Outbox;
  /** Ends attempts under way when the term ends: the next leader may have sent something newer. */
  readonly ending: AbortController;
  readonly sending: Map<string, Promise<void>>;
  /** Not in the outbox yet. */
  readonly attempts: Attempt[];
  lookAt: number;
  /** What the source said when the nodes were looked at. */
  seen: string | null;
}

/** What a look at the commit has found, and when the next one is due. */
interface Look {
  readonly seen: string;
  readonly report: CommitReport | null;
  readonly lookAt: number;
}

export class Notifications {
  /** Notified when an attempt has ended, and by others when a commit may have another state. */
  readonly notifier = new Notifier();
  #term: Term | null = null;
  #barredUntil = 0;

  constructor(
    private readonly deps: NotificationsDeps,
    private readonly targets: readonly DeliveryTarget[],
  ) {}

  /** Makes one run. @throws StoreError; what was not written is written by the next run */
  async run(): Promise<void> {
    const { election, clock, logger } = this.deps;
    const { fence } = election;
    if (fence === null || this.targets.length === 0) return this.#endTerm();
    if (clock.monotonic() < this.#barredUntil) return;
    try {
      await this.#run(fence);
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== "store-permission") throw error;
      this.#barredUntil = clock.monotonic() + BARRED_MS;
      logger.error("receivers are told nothing: the store does not let this leader write the outbox", { error });
    }
  }

  async #run(fence: Fence): Promise<void> {
    const term = this.#term?.fence.term === fence.term ? this.#term : await this.#beginTerm(fence);
    const attempts = [...term.attempts];
    const before = withReceivers(term.outbox, this.targets);
    const settled = this.#settle(before.outbox, attempts);
    const look = await this.#look(term);
    const reported = this.#add(settled.outbox, look?.report ?? null);
    const { outbox } = reported;
    if (outbox !== term.outbox && !(await this.deps.store.writeOutbox(outbox, fence))) return this.#endTerm();
    term.outbox = outbox;
    // Only now: what was seen and not written is looked at again.
    if (look !== null) [term.seen, term.lookAt] = [look.seen, look.lookAt];
    term.attempts.splice(0, attempts.length);
    this.#tell([...before.lost, ...settled.lost, ...reported.lost], attempts, outbox);
    for (const due of dueEvents(outbox, this.deps.clock.now())) this.#send(term, due);
  }

  /** Ends the attempts under way; what they were about stays in the outbox. */
  async stop(): Promise<void> {
    const sending = [...(this.#term?.sending.values() ?? [])];
    this.#endTerm();
    await Promise.all(sending);
  }

  async #beginTerm(fence: Fence): Promise<Term> {
    this.#endTerm();
    const term: Term = {
      fence,
      outbox: await this.#read(),
      ending: new AbortController(),
      sending: new Map(),
      attempts: [],
      lookAt: 0,
      seen: null,
    };
    this.#term = term;
    return term;
  }

  #endTerm(): void {
    if (this.#term === null) return;
    this.#term.ending.abort();
    this.#term = null;
    this.deps.telemetry.deliveriesPending({ events: 0, oldestMs: 0 });
  }

  /** A damaged outbox is begun anew: what is true now is told again. */
  async #read(): Promise<Outbox> {
    try {
      return (await this.deps.store.readOutbox()) ?? EMPTY_OUTBOX;
    } catch (error) {
      if (!(error instanceof StoreError) || error.code !== "store-damaged") throw error;
      this.deps.logger.error("the outbox is damaged, and begun anew: what waited in it is not told", { error });
      return EMPTY_OUTBOX;
    }
  }

  #add(outbox: Outbox, report: CommitReport | null): Changed {
    const { clock, random } = this.deps;
    if (report === null) return { outbox, lost: [] };
    return withReport(outbox, this.targets, report, { now: clock.now(), newId: () => random.id() });
  }

  #settle(outbox: Outbox, attempts: readonly Attempt[]): Changed {
    const { clock, random } = this.deps;
    return attempts.reduce<Changed>(
      (before, attempt) => {
        const after = withAttempt(before.outbox, attempt, clock.now(), random.fraction());
        return { outbox: after.outbox, lost: [...before.lost, ...after.lost] };
      },
      { outbox, lost: [] },
    );
  }

  /** Looks at the commit, unless that was done a moment ago and the source has said nothing new. */
  async #look(term: Term): Promise<Look | null> {
    const { store, clock } = this.deps;
    const source = await store.readSourceStatus();
    const seen = JSON.stringify([source?.observedCommit, source?.state, source?.acceptedRevision, source?.message]);
    if (seen === term.seen && clock.monotonic() < term.lookAt) return null;
    const cluster = await readClusterStatus({ store, clock });
    const isLate = cluster.source?.state === "OutOfSync" && (await this.#isCommitted(cluster.revision, source));
    const report = isLate ? null : reportCommit(cluster, await store.listNodeStatus());
    const againMs = report?.state === "accepted" ? UNDERWAY_MS : ARRIVED_MS;
    return { seen, report, lookAt: clock.monotonic() + againMs };
  }

  /** Whether head is a later commit of the source, which the leader has made and not reported yet. */
  async #isCommitted(head: number | null, source: SourceStatus | null): Promise<boolean> {
    const revision = head === null ? null : await this.deps.store.readRevision(head);
    return revision?.reason === "source" && revision.source.commit !== source?.observedCommit;
  }

  #send(term: Term, { receiver, event }: Due): void {
    const target = this.targets.find(({ name }) => name === receiver);
    // An attempt that is not in the outbox yet: what is due there is older than that.
    const isKnown = term.attempts.some((attempt) => attempt.receiver === receiver);
    if (target === undefined || isKnown || term.sending.has(receiver) || this.deps.election.fence === null) return;
    const sending = target.send(event, term.ending.signal).then((outcome) => {
      term.sending.delete(receiver);
      if (term.ending.signal.aborted) return;
      term.attempts.push({ receiver, event, outcome });
      this.#log(receiver, outcome);
      this.notifier.notify();
    });
    term.sending.set(receiver, sending);
  }

  #log(receiver: string, outcome: DeliveryOutcome): void {
    const { logger } = this.deps;
    if (outcome.outcome === "failed")
      logger.warn(`receiver ${receiver} was not told, trying again: ${outcome.problem}`, { receiver });
    else if (outcome.outcome === "delivered") logger.debug(`receiver ${receiver} was told`, { receiver });
  }

  #tell(lost: readonly Lost[], attempts: readonly Attempt[], outbox: Outbox): void {
    const { telemetry, logger, clock } = this.deps;
    for (const { outcome } of attempts) {
      if (outcome.outcome === "delivered") telemetry.delivered();
      else if (outcome.outcome === "failed") telemetry.deliveryFailed();
    }
    for (const { receiver, event, problem } of lost)
      logger.error(
        `receiver ${receiver} is not told that commit ${event.commit.slice(0, 12)} is ${event.state}: ${problem}`,
        {
          receiver,
          commit: event.commit,
        },
      );
    if (lost.length > 0) telemetry.deliveriesLost(lost.length);
    const times = outbox.receivers.flatMap(({ commits }) =>
      commits.flatMap(({ pending }) => (pending === null ? [] : [Date.parse(pending.event.time)])),
    );
    telemetry.deliveriesPending({
      events: times.length,
      oldestMs: times.length === 0 ? 0 : Math.max(0, clock.now() - Math.min(...times)),
    });
  }
}
