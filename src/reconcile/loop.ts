/**
 * The loop of every task of an agent: run, wait for a notification or for the interval, run again. Level-triggered: a
 * notification carries no data, and losing one costs an interval at most. A failed run is retried sooner, with growing,
 * jittered delays. After each run the loop rests for as long as the run took: notifications without end leave half of the
 * time to the other loops.
 */
import type { Notifier } from "../interfaces/notifier.js";
import type { Clock, Logger, Random } from "../interfaces/system.js";

export interface LoopOptions {
  readonly name: string;
  /** Time between two runs without a notification; ± a random part of up to `jitter`. */
  readonly intervalMs: number;
  /** Fraction of the interval, 0 to 1. */
  readonly jitter: number;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

const RETRY_MIN_MS = 200;
const RETRY_MAX_MS = 30_000;

/** Runs until the signal aborts. `run` reports its own failures; it throws only to be retried sooner. */
export async function runLoop(options: LoopOptions, notifier: Notifier, run: () => Promise<void>): Promise<void> {
  const { clock, random, logger, signal, name } = options;
  const isOver = (): boolean => signal.aborted;
  let failures = 0;
  while (!isOver()) {
    const started = clock.monotonic();
    let delayMs = options.intervalMs * (1 + options.jitter * (2 * random.fraction() - 1));
    try {
      await run();
      failures = 0;
    } catch (error) {
      // A run that the stop interrupted did not fail.
      if (isOver()) return logger.debug(`${name} was cut short by the stop`, { error });
      const backoffMs =
        Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** Math.min(failures, 10)) * (0.5 + random.fraction() / 2);
      failures += 1;
      delayMs = Math.min(delayMs, backoffMs);
      const why = error instanceof Error ? error.message : String(error);
      logger.warn(`${name} failed, trying again in ${Math.round(delayMs)} ms: ${why}`, { error });
    }
    const restMs = Math.min(delayMs, clock.monotonic() - started);
    if (restMs > 0) await clock.sleep(restMs, signal);
    await notifier.wait(signal, { ms: delayMs - restMs, clock });
  }
}

/**
 * Turns every event of a watch into a notification of each loop that it is for; watches again, with a pause, if the watch
 * ends or fails.
 */
export async function forwardEvents<T>(
  watch: (signal: AbortSignal) => AsyncIterable<T>,
  notifiersOf: (event: T) => readonly Notifier[],
  options: { readonly clock: Clock; readonly logger: Logger; readonly signal: AbortSignal },
): Promise<void> {
  while (!options.signal.aborted) {
    try {
      const events = watch(options.signal)[Symbol.asyncIterator]();
      for (let next = await events.next(); next.done !== true; next = await events.next()) {
        for (const notifier of notifiersOf(next.value)) notifier.notify();
      }
    } catch (error) {
      options.logger.warn("watch of the store ended, watching again", { error });
    }
    await options.clock.sleep(500, options.signal);
  }
}
