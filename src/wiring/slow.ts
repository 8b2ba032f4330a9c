/** Says what is waited for, where it takes long: a command that is silent looks as if it hung. */
import { systemClock } from "../adapters/system/clock.js";

/** Is told what is waited for. */
export type Say = (what: string) => void;

const SLOW_MS = 2_000;

/** Runs the work, and says what it waits for once it takes longer than two seconds. */
export async function sayIfSlow<T>(say: Say, what: string, work: () => Promise<T>): Promise<T> {
  const done = new AbortController();
  void systemClock.sleep(SLOW_MS, done.signal).then(() => {
    if (!done.signal.aborted) say(what);
  });
  try {
    return await work();
  } finally {
    done.abort();
  }
}
