/** The leader's other duty: old revisions go, beyond both of two bounds. Rarely, and nothing waits for it. */
import type { Store } from "../interfaces/store.js";
import type { Clock, Logger } from "../interfaces/system.js";
import type { HistorySettings } from "../settings/settings.js";

const PRUNE_EVERY_MS = 3_600_000;

export class Pruner {
  #next = 0;

  constructor(
    private readonly deps: { readonly store: Store; readonly clock: Clock; readonly logger: Logger },
    private readonly history: HistorySettings,
  ) {}

  /** Prunes where it is time to. A failure is no reason to do anything else differently: it is tried again in an hour. */
  async run(): Promise<void> {
    const { store, clock, logger } = this.deps;
    if (clock.monotonic() < this.#next) return;
    this.#next = clock.monotonic() + PRUNE_EVERY_MS;
    const newerThan = new Date(clock.now() - this.history.keepForMs).toISOString();
    try {
      const { revisions, objects } = await store.prune({ revisions: this.history.keepRevisions, newerThan });
      if (revisions + objects > 0) logger.info("pruned the history", { revisions, objects });
    } catch (error) {
      logger.warn("the history could not be pruned", { error });
    }
  }
}
