/**
 * Patience: how long an operation waits for other processes that have the store locked. They hold it for milliseconds; on a
 * disk that takes seconds to flush, beside writers that never pause, it may be the turn of others many times first, since
 * SQLite keeps no queue. The process sleeps meanwhile, and does what else it has to do.
 */
import { StoreError } from "../../interfaces/store.js";
import type { Clock } from "../../interfaces/system.js";
import { isBusy } from "./failure.js";

/** From the call on, waiting for earlier operations of the same handle included. */
const PATIENCE_MS = 60_000;
/** The pauses double from one millisecond up to this: short, since who looks more often gets a turn sooner. */
const LONGEST_PAUSE_MS = 20;

/** Calls `attempt`, which changes nothing where the store is locked, until it is not. */
export type Patience = <T>(attempt: () => T) => Promise<T>;

/** @param closed ends the waiting, with `store-unavailable`; what need not wait is done all the same */
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
