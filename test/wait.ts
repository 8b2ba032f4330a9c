/** Waits: the one place of the tests that lets time pass. A test waits for a condition, not for a time. */
import { setImmediate as turn, setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";

/** Only ends a test that hangs: beside other work, or in an emulator, everything takes far longer than it does alone. */
export const HANG_MS = 1_800_000;
const TIMEOUT_MS = HANG_MS / 3;
const LONGEST_INTERVAL_MS = 200;

export interface WaitOptions<T> {
  /** Noun: "the first commit". */
  readonly what: string;
  /** Whether a value is the one that is waited for. Default: it is neither false, null nor undefined. */
  readonly is?: (value: T) => boolean;
  readonly timeoutMs?: number;
}

/** What a condition gives once it holds. */
export type Found<T> = Exclude<T, false | null | undefined>;

/**
 * Looks until the condition holds: at first at each turn of the event loop, later after a tenth of the time that has passed.
 * @returns what the condition gave when it held
 * @throws Error that names what was awaited and what the condition gave last
 */
export async function waitUntil<T>(condition: () => T | Promise<T>, options: WaitOptions<T>): Promise<Found<T>> {
  const { what, is = isSomething, timeoutMs = TIMEOUT_MS } = options;
  const from = performance.now();
  for (;;) {
    const value = await condition();
    if (is(value)) return value as Found<T>;
    const passedMs = performance.now() - from;
    if (passedMs > timeoutMs)
      throw new Error(`waited ${Math.round(passedMs / 1000)} s in vain for ${what}; the last value: ${inspect(value)}`);
    if (passedMs < 1) await turn();
    else await sleep(Math.min(LONGEST_INTERVAL_MS, Math.max(1, passedMs / 10)));
  }
}

/** @throws Error where the promise is still pending after that time */
export async function within<T>(
  promise: Promise<T>,
  { what, timeoutMs = TIMEOUT_MS }: Pick<WaitOptions<T>, "what" | "timeoutMs">,
): Promise<T> {
  const stop = new AbortController();
  const bound = sleep(timeoutMs, undefined, { signal: stop.signal }).then((): never => {
    throw new Error(`waited ${timeoutMs / 1000} s in vain for ${what}`);
  });
  try {
    return await Promise.race([promise, bound]);
  } finally {
    bound.catch(() => undefined);
    stop.abort();
  }
}

/** Pauses for a test whose subject is the moment: that of a kill, or of a clock. */
export function pause(ms: number): Promise<void> {
  return sleep(ms);
}

function isSomething(value: unknown): boolean {
  return value !== false && value !== null && value !== undefined;
}
