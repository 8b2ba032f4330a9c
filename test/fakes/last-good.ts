/** A last-good state in memory: it holds what was written last, and counts the writes. */
import type { NodeEndpoints } from "../../src/model/endpoints.js";
import type { Override } from "../../src/model/override.js";
import type { TrialRecord } from "../../src/model/trial.js";
import type { LastGood, LastGoodState } from "../../src/interfaces/last-good.js";

export class MemoryLastGood implements LastGoodState {
  announced: LastGood | null = null;
  trial: TrialRecord | null = null;
  overrides: readonly Override[] = [];
  /** Every state that was written, in order. */
  readonly written: LastGood[] = [];
  /** The reason why it cannot be written to. */
  failure: string | null = null;

  constructor(public state: LastGood | null = null) {}

  endpoints: readonly NodeEndpoints[] = [];

  async read(): Promise<LastGood | null> {
    return this.#withEndpoints(this.state);
  }

  async readAnnounced(): Promise<LastGood | null> {
    return this.#withEndpoints(this.announced);
  }

  async writeEndpoints(endpoints: readonly NodeEndpoints[]): Promise<void> {
    this.#check();
    this.endpoints = endpoints;
  }

  #withEndpoints(state: LastGood | null): LastGood | null {
    return state === null || this.endpoints.length === 0 ? state : { ...state, endpoints: this.endpoints };
  }

  async write(state: LastGood): Promise<void> {
    this.#check();
    this.state = state;
    this.written.push(state);
  }

  async announce(state: LastGood | null): Promise<void> {
    this.#check();
    this.announced = state;
  }

  async readTrial(): Promise<TrialRecord | null> {
    return this.trial;
  }

  async writeTrial(trial: TrialRecord | null): Promise<void> {
    this.#check();
    this.trial = trial;
  }

  async readOverrides(): Promise<readonly Override[]> {
    return this.overrides;
  }

  async writeOverrides(overrides: readonly Override[]): Promise<void> {
    this.#check();
    this.overrides = overrides;
  }

  #check(): void {
    if (this.failure !== null) throw new Error(this.failure);
  }
}
