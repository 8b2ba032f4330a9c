/**
 * Notifier: wakes one loop. A notification carries nothing, several count as one, and one that comes while the loop is
 * busy is kept for its next wait, so that none is lost.
 */
import type { Clock } from "./system.js";

export interface WaitLimit {
  readonly ms: number;
  readonly clock: Clock;
}

const WOKEN = "woken";

/** Has one waiter at a time. */
export class Notifier {
  #isPending = false;
  #wake: () => void = () => undefined;

  notify(): void {
    this.#isPending = true;
    this.#wake();
  }

  /**
   * Resolves when notified (at once if that happened since the last wait), when the limit is over, or when the signal
   * aborts. Leaves neither a timer nor a listener behind.
   * @returns whether there was a notification; false once the signal has aborted
   */
  async wait(signal: AbortSignal, limit?: WaitLimit): Promise<boolean> {
    if (!this.#isPending && !signal.aborted) {
      const nap = new AbortController();
      // With a reason of its own: without one each notification would make an error, with its stack.
      const wake = (): void => nap.abort(WOKEN);
      this.#wake = wake;
      signal.addEventListener("abort", wake);
      await (limit === undefined ? aborted(nap.signal) : limit.clock.sleep(limit.ms, nap.signal));
      signal.removeEventListener("abort", wake);
    }
    const wasNotified = this.#isPending;
    this.#isPending = false;
    return wasNotified && !signal.aborted;
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
