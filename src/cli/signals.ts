/**
 * Runs until SIGINT or SIGTERM requests a stop; a second signal ends the process at once. Also stops when the reader of
 * the output is gone (`| head`).
 */

export async function untilSignal<T>(run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const forget = () => {
    process.off("SIGINT", onSignal);
    process.off("SIGTERM", onSignal);
    process.stdout.off("error", onSignal);
  };
  const onSignal = () => {
    forget();
    stop.abort();
  };
  process.on("SIGINT", onSignal);
  process.on("SIGTERM", onSignal);
  process.stdout.on("error", onSignal);
  try {
    return await run(stop.signal);
  } finally {
    forget();
  }
}
