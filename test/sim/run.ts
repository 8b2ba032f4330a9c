/** Runs histories, one after the other. */
import { History, type HistoryOptions } from "./history.js";

export interface Outcome {
  readonly seed: number;
  /** The invariant that did not hold; null where all did. */
  readonly violation: string | null;
  readonly trace: readonly string[];
}

/** How many `npm test` runs. */
export const HISTORIES = 300;

/** Between two events all that the first one set going runs until it waits again. */
export async function runHistory(seed: number, options: HistoryOptions = {}): Promise<Outcome> {
  // What a history before this one left to the process has its turn; within a history nothing is left to it.
  await turn();
  const history = new History(seed, options);
  while (history.step()) await (history.needsTurn ? turn() : microtasks());
  const { violation, trace } = history.world;
  return { seed, violation, trace };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Asked for by a microtask, a tick comes once no microtask is left: thousands of these cost less than turns of the event loop. */
function microtasks(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}

/** What went wrong, how to see it again, and the end of the trace. */
export function describeFailure({ seed, violation, trace }: Outcome): string {
  const replay = `ZTAP_SIM_SEED=${seed} npm test -- sim/sim`;
  return [`history ${seed}: ${violation ?? "no violation"}`, `replay it with: ${replay}`, ...trace.slice(-60)].join(
    "\n",
  );
}
