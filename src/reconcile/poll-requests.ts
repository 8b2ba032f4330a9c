/**
 * Requests to poll the source now. A node that does not lead passes them to the leader through the store. However many come,
 * at most one in five seconds has an effect, and the last one always has: what was pushed before it is seen.
 */
import { Notifier } from "../interfaces/notifier.js";
import { StoreError, type Store } from "../interfaces/store.js";
import type { Clock, Logger } from "../interfaces/system.js";
import type { Election } from "./election.js";

const DISTANCE_MS = 5_000;

export interface PollRequestsDeps {
  readonly store: Pick<Store, "requestPoll">;
  readonly election: Pick<Election, "fence">;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class PollRequests {
  /** Notified by this node's poll hook. */
  readonly asked = new Notifier();
  /** Notified when the store has a request of another node. */
  readonly announced = new Notifier();

  constructor(
    private readonly deps: PollRequestsDeps,
    private readonly node: string,
    /** Wakes the poll of the source. */
    private readonly poll: Notifier,
  ) {}

  /** Runs until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([
      this.#serve(this.asked, signal, () => this.#pass()),
      this.#serve(this.announced, signal, async () => this.#isLeader && this.poll.notify()),
    ]);
  }

  get #isLeader(): boolean {
    return this.deps.election.fence !== null;
  }

  async #pass(): Promise<void> {
    const { store, clock } = this.deps;
    if (this.#isLeader) this.poll.notify();
    else await store.requestPoll({ node: this.node, time: new Date(clock.now()).toISOString() });
  }

  async #serve(notifier: Notifier, signal: AbortSignal, run: () => Promise<unknown>): Promise<void> {
    const { clock, logger } = this.deps;
    while (await notifier.wait(signal)) {
      try {
        await run();
      } catch (error) {
        const isBarred = error instanceof StoreError && error.code === "store-permission";
        logger.warn(`the leader was not asked to poll the source${isBarred ? "" : "; trying again"}`, { error });
        if (!isBarred) notifier.notify();
      }
      await clock.sleep(DISTANCE_MS, signal);
    }
  }
}
