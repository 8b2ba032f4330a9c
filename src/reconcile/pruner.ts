/** Pruner: removes revisions beyond both bounds of the history, once an hour, on the leader. Nothing waits for it. */
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

  /** Prunes if the last run is an hour ago. A failure is logged and retried in an hour. */
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
