/** A last-good state in memory: it holds what was written last, and counts the writes. */
import type { LastGood, LastGoodState } from "../../src/interfaces/last-good.js";

export class MemoryLastGood implements LastGoodState {
  announced: LastGood | null = null;
  /** Every state that was written, in order. */
  readonly written: LastGood[] = [];
  /** The reason why it cannot be written to. */
  failure: string | null = null;

  constructor(public state: LastGood | null = null) {}

  read(): Promise<LastGood | null> {
    return Promise.resolve(this.state);
  }

  readAnnounced(): Promise<LastGood | null> {
    return Promise.resolve(this.announced);
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

  #check(): void {
    if (this.failure !== null) throw new Error(this.failure);
  }
}
