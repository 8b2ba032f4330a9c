/** Follows what a list of the store says. */
import type { Store } from "../../interfaces/store.js";
import type { Clock } from "../../interfaces/system.js";

/** What no event tells of, such as a heartbeat that is late, is seen after this time. */
const POLL_MS = 2000;

/** Fields that change with every look, with every heartbeat, or with every poll of the source. */
const NO_NEWS: ReadonlySet<string> = new Set(
  "ageMs checkedAt databaseBytes heartbeatAgeMs lastSeen reportedAt".split(" "),
);

/**
 * Yields the list, and again whenever it differs, apart from ages. Ends when the signal aborts. Several changes between
 * two looks are one.
 */
export async function* watchList<T>(
  { store, clock }: { readonly store: Store; readonly clock: Clock },
  read: () => Promise<T>,
  signal: AbortSignal,
): AsyncGenerator<T> {
  const events = store.watch(signal)[Symbol.asyncIterator]();
  let event = nextOf(events);
  let last: string | null = null;
  while (!signal.aborted) {
    const found = await read();
    const news = JSON.stringify(found, (key, value: unknown) => (NO_NEWS.has(key) ? undefined : value));
    if (news !== last) yield found;
    last = news;
    const nap = new AbortController();
    const slept = clock.sleep(POLL_MS, AbortSignal.any([signal, nap.signal])).then(() => null);
    const woken = await Promise.race([event, slept]).finally(() => nap.abort());
    if (woken?.done === true) return;
    if (woken !== null) event = nextOf(events);
  }
}

/** A failure is thrown where the event is awaited, and not before. */
function nextOf<T>(events: AsyncIterator<T>): Promise<IteratorResult<T>> {
  const next = events.next();
  next.catch(() => undefined);
  return next;
}
