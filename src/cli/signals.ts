/**
 * Runs until SIGINT or SIGTERM asks it to stop; a second signal ends the process at once. Where
 * nobody reads the output any more (`| head`) there is nothing to go on for either.
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
