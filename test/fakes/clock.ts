/**
 * A clock that a test moves by hand. Held to the same contract as the machine's (test/contract/clock.ts).
 */
import type { Clock } from "../../src/interfaces/system.js";

interface Sleeper {
  readonly until: number;
  readonly wake: () => void;
}

export class ManualClock implements Clock {
  #now: number;
  #monotonic = 0;
  #sleepers: readonly Sleeper[] = [];

  constructor(now = Date.UTC(2026, 0, 1)) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  /** How many are asleep: what a test looks at before it moves the clock. */
  get asleep(): number {
    return this.#sleepers.length;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted === true || ms <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        signal?.removeEventListener("abort", wake);
        this.#sleepers = this.#sleepers.filter((sleeper) => sleeper.wake !== wake);
        resolve();
      };
      signal?.addEventListener("abort", wake, { once: true });
      this.#sleepers = [...this.#sleepers, { until: this.#monotonic + ms, wake }];
    });
  }

  /** Lets time pass, and wakes whoever has slept long enough, the first to wake first. */
  advance(ms: number): void {
    this.#now += ms;
    this.#monotonic += ms;
    const due = this.#sleepers.filter(({ until }) => until <= this.#monotonic).sort((a, b) => a.until - b.until);
    for (const { wake } of due) wake();
  }

  /** Sets the wall clock, as an administrator or a time service does; durations are not affected. */
  setWall(now: number): void {
    this.#now = now;
  }
}
