/**
 * Measures how long the event loop was blocked: by a timer, once a second, so that an idle agent stays idle. A block of
 * over a second is always seen; a shorter one as far as it delayed the timer.
 */
import { performance } from "node:perf_hooks";

const PERIOD_MS = 1_000;
/** Periods after which a maximum is forgotten, at the latest after twice as many. */
const WINDOW = 300;

export class EventLoopBlocks {
  #current = 0;
  #previous = 0;
  #periods = 0;

  /** Does not keep the process alive. */
  constructor() {
    let last = performance.now();
    setInterval(() => {
      const now = performance.now();
      this.note(now - last - PERIOD_MS);
      last = now;
    }, PERIOD_MS).unref();
  }

  note(blockedMs: number): void {
    this.#periods += 1;
    if (this.#periods > WINDOW) {
      this.#previous = this.#current;
      this.#current = 0;
      this.#periods = 1;
    }
    this.#current = Math.max(this.#current, blockedMs);
  }

  /** The longest block of the last five to ten minutes, in seconds. */
  get longestSeconds(): number {
    return Math.max(this.#current, this.#previous) / 1000;
  }
}
