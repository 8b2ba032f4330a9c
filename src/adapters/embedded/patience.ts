/**
 * Patience: how long an operation waits for other processes that have the store locked. They hold the lock for
 * milliseconds; on a disk that takes seconds to flush, with writers that never pause, others may often come first,
 * since SQLite has no queue. Meanwhile the process sleeps, and can do other work.
 */
import { StoreError } from "../../interfaces/store.js";
import type { Clock } from "../../interfaces/system.js";
import { isBusy } from "./failure.js";

/** Counts from the call, including the wait for earlier operations of the same handle. */
const PATIENCE_MS = 60_000;
/**
 * The pauses double from one millisecond up to this: short, since a process that tries more often gets the lock sooner.
 */
const LONGEST_PAUSE_MS = 20;

/** Calls `attempt`, which must change nothing if the store is locked, until it succeeds. */
export type Patience = <T>(attempt: () => T) => Promise<T>;

/**
 * Returns the waiting function.
 * @param closed ends the waiting, with `store-unavailable`; operations that need not wait still run
 */
export function patience(clock: Clock, closed: AbortSignal): Patience {
  const deadline = clock.monotonic() + PATIENCE_MS;
  return async (attempt) => {
    for (let pauseMs = 1; ; pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)) {
      try {
        return attempt();
      } catch (error) {
        if (!isBusy(error) || clock.monotonic() >= deadline) throw error;
      }
      if (closed.aborted) throw new StoreError("store-unavailable", "the store was closed");
      await clock.sleep(pauseMs, closed);
    }
  };
}
