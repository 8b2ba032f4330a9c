/** Runs a change while no other process, and nothing else in this one, runs one with the same lock. Waits for it, within a bound. */
import type { Clock } from "../../interfaces/system.js";
import { OperationError } from "../../model/operation-error.js";
import { tryLock } from "../system/file-lock.js";

const WAIT_MS = 30_000;
const POLL_MS = 20;
const SLOW_MS = 2_000;

export interface LockOptions {
  /** What is changed, for messages. */
  readonly what: string;
  readonly clock: Pick<Clock, "monotonic" | "sleep">;
  /** Is told what takes long, once. */
  readonly waiting: (what: string) => void;
}

/** @throws OperationError `lost-race` if others have the lock all the time */
export async function withLock<T>(path: string, options: LockOptions, change: () => Promise<T>): Promise<T> {
  const { what, clock, waiting } = options;
  const started = clock.monotonic();
  let isSlow = false;
  let release = tryLock(path);
  for (; release === null; release = tryLock(path)) {
    const waitedMs = clock.monotonic() - started;
    if (!isSlow && waitedMs > SLOW_MS) {
      isSlow = true;
      waiting(`other processes that are changing ${what}`);
    }
    if (waitedMs > WAIT_MS) throw new OperationError("lost-race", `other processes are changing ${what}; try again`);
    await clock.sleep(POLL_MS);
  }
  try {
    return await change();
  } finally {
    release();
  }
}
