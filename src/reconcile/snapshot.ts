/**
 * The last-good snapshot on this node's disk: written once its state is in force, read if the store is unreachable. A
 * state of which a part is withheld is announced before it is applied.
 */
import type { CommittedState } from "../model/state.js";
import type { LastGood, LastGoodState } from "../interfaces/last-good.js";
import type { Logger } from "../interfaces/system.js";
import type { Target } from "./target.js";

export class LastGoodSnapshot {
  /** Compiled, but not yet known to be enforceable as a whole. */
  #candidate: CommittedState | null = null;
  /** Revision and digest of the ruleset of the state that this process wrote last, if a part of it is withheld. */
  #kept: string | null = null;
  /** Key of the endpoints that this process wrote last. */
  #keptEndpoints: string | null = null;
  /** Whether an announcement may be on the disk. */
  #isAnnounced = false;
  /** Whether a part of the state on the disk is withheld, as far as this process knows. */
  #isPartial = false;

  /**
   * @param lastGood null if this node keeps none
   * @param boot this boot of this machine; null if it is not known
   */
  constructor(
    private readonly lastGood: LastGoodState | null,
    private readonly logger: Logger,
    private readonly boot: string | null,
  ) {}

  async read(): Promise<LastGood | null> {
    const state = (await this.lastGood?.read()) ?? null;
    this.#isPartial = state?.withholding !== undefined;
    return state;
  }

  /** Reads the state that an earlier agent was about to apply when it ended; null if there is none. */
  async readAnnounced(): Promise<LastGood | null> {
    const state = (await this.lastGood?.readAnnounced()) ?? null;
    this.#isAnnounced = state !== null;
    return state;
  }

  propose({ revision, objects }: CommittedState): void {
    if (this.lastGood !== null) this.#candidate = { revision, objects };
  }

  /**
   * Call before a target is applied. A whole revision is announced only if it ends a withholding: with the state on the disk,
   * a reboot would open what it closes. Otherwise the store has it.
   */
  async announce(target: Target): Promise<void> {
    const state = target.withholding === null && !this.#isPartial ? null : this.#stateOf(target);
    this.#isAnnounced = state !== null;
    const boot = this.boot === null ? {} : { boot: this.boot };
    await this.#write((lastGood) => lastGood.announce(state === null ? null : { ...state, ...boot }));
  }

  /** Writes the proposed state of a target that is in force now, and the endpoints that it was compiled with. */
  async keep(target: Target): Promise<void> {
    await this.#keepState(target);
    const { reports } = target.placed;
    const key = JSON.stringify([target.placed.key, reports.map(({ node, publicKey }) => [node, publicKey])]);
    if (key === this.#keptEndpoints || (reports.length === 0 && this.#keptEndpoints === null)) return;
    if (await this.#write((lastGood) => lastGood.writeEndpoints(reports))) this.#keptEndpoints = key;
  }

  async #keepState(target: Target): Promise<void> {
    const state = this.#stateOf(target);
    const name = target.withholding === null ? null : `${target.revision.number} ${target.ruleset.digest}`;
    if (state === null || (name !== null && name === this.#kept)) {
      // Another state was announced meanwhile, and never came into force.
      if (state !== null && this.#isAnnounced) await this.#announceNothing();
      return;
    }
    const isKept = await this.#write(async (lastGood) => {
      await lastGood.write(state);
      await lastGood.announce(null);
    });
    if (!isKept) return;
    this.#isAnnounced = false;
    this.#isPartial = target.withholding !== null;
    // A state of which a part is withheld is to be in force as a whole later.
    if (target.withholding === null) this.#candidate = null;
    this.#kept = name;
  }

  async #announceNothing(): Promise<void> {
    if (await this.#write((lastGood) => lastGood.announce(null))) this.#isAnnounced = false;
  }

  #stateOf({ revision, withholding }: Target): LastGood | null {
    const state = this.#candidate;
    if (state?.revision.number !== revision.number) return null;
    return withholding === null ? state : { ...state, withholding };
  }

  /** A full disk stops nothing: the earlier state remains. */
  async #write(write: (lastGood: LastGoodState) => Promise<void>): Promise<boolean> {
    if (this.lastGood === null) return false;
    try {
      await write(this.lastGood);
      return true;
    } catch (error) {
      this.logger.warn("the copy for a start without the store could not be written", { error });
      return false;
    }
  }
}
