/** The last-good snapshot on this node's disk: written once its state is in force, read if the store is unreachable. */
import type { CommittedState, Revision } from "../model/state.js";
import type { LastGoodState } from "../interfaces/last-good.js";
import type { Logger } from "../interfaces/system.js";

export class LastGoodSnapshot {
  /** Compiled, but not yet known to be enforceable. */
  #candidate: CommittedState | null = null;

  /** @param lastGood null if this node keeps none */
  constructor(
    private readonly lastGood: LastGoodState | null,
    private readonly logger: Logger,
  ) {}

  async read(): Promise<CommittedState | null> {
    return (await this.lastGood?.read()) ?? null;
  }

  propose(state: CommittedState): void {
    if (this.lastGood !== null) this.#candidate = state;
  }

  /** Writes the proposed state of a revision that is in force now. A full disk stops nothing: the earlier one remains. */
  async keep({ number }: Revision): Promise<void> {
    const state = this.#candidate;
    if (this.lastGood === null || state?.revision.number !== number) return;
    try {
      await this.lastGood.write(state);
      this.#candidate = null;
    } catch (error) {
      this.logger.warn("the copy for a start without the store could not be written", { error });
    }
  }
}
