/** Sockets of container runtimes: who may answer on them, and how calls are watched again. */
import { realpathSync, statSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "../../interfaces/system.js";
import { writableByOthers } from "../system/ownership.js";

/**
 * Returns the path of a socket, without links; null if there is none. Whoever can put a socket in its place could name any
 * process a container of any workload. A group may be allowed to connect, as that of Docker is: it is root's equal there.
 * @throws Error if another user than this process's and root could answer on it
 */
export function trustedSocket(path: string): string | null {
  const stats = statSync(path, { throwIfNoEntry: false });
  if (stats === undefined) return null;
  const user = process.geteuid?.() ?? 0;
  const real = realpathSync(path);
  if (!stats.isSocket()) throw new Error(`${path} is not a socket`);
  const why =
    stats.uid !== user && stats.uid !== 0
      ? `it belongs to user ${stats.uid}`
      : (stats.mode & 0o002) !== 0
        ? "every user may write to it"
        : (writableByOthers(dirname(path), user) ?? writableByOthers(dirname(real), user));
  if (why !== null) throw new Error(`${path} is not trusted: ${why}`);
  return real;
}

const RETRY_MIN_MS = 500;
const RETRY_MAX_MS = 10_000;

/**
 * Runs a watch again and again, with pauses that grow while it fails. Resolves when the signal has aborted.
 * @param run resolves or rejects when the watch ended; calls when it has begun
 */
export async function keepWatching(
  clock: Clock,
  signal: AbortSignal,
  run: (onBegin: () => void) => Promise<void>,
): Promise<void> {
  let pauseMs = RETRY_MIN_MS;
  while (!signal.aborted) {
    try {
      await run(() => (pauseMs = RETRY_MIN_MS));
    } catch {
      // A runtime that is away or broken: the next list says so, with the reason.
    }
    await clock.sleep(pauseMs, signal);
    pauseMs = Math.min(RETRY_MAX_MS, pauseMs * 2);
  }
}
