/**
 * Watches ranges of keys over a raw stream. A watcher learns from an event only that it must read again: after a lost
 * stream, a compaction or a long silence every range is reported, the current revision of the database is read, and the
 * watch continues from there. Nothing is resumed, so that nothing can be lost by resuming wrongly.
 */
import type { IWatchRequest, IWatchResponse, IDuplexStream } from "etcd3";
import type { EtcdClient } from "./client.js";
import { Notifier } from "../../interfaces/notifier.js";
import { toEntry, toRangeRequest, type Entry, type Range } from "./requests.js";

/** How long a silent stream is trusted. */
const REFRESH_MS = 180_000;
/** Constant: after an outage every node reconnects within about a second. */
const RECONNECT_MS = 500;

export interface Watched<K> {
  readonly kind: K;
  readonly range: Range;
  /** The only keys of the range that count; all if absent. */
  readonly only?: readonly string[];
  /** Whether the removal of a key counts. */
  readonly removals: boolean;
  /** False: only a key that is made or removed counts, not one that is written again. */
  readonly rewrites?: false;
}

/** Receives the entries that a watch brings. */
export interface Listener {
  add(entry: Entry): void;
  /** @param modified the revision of the database that removed it */
  remove(key: string, modified: number): void;
  /** Events may have been missed. */
  clear(): void;
}

/**
 * Yields `null` once, when the watch is established: later changes are reported. Then yields the kind of each changed
 * range, coalesced, and every kind if changes may have been missed. Ends when the signal aborts.
 * @throws StoreError if etcd cannot be reached at the beginning
 */
export async function* watchKinds<K>(
  client: EtcdClient,
  watched: readonly Watched<K>[],
  signal: AbortSignal,
  listener: Listener,
): AsyncGenerator<K | null, void, undefined> {
  const changed = new Set<K>();
  let revision: number | null = await client.revision();
  yield null;
  while (!signal.aborted) {
    if (revision !== null)
      yield* follow(client, watched, revision + 1, { changed, notifier: new Notifier(), listener }, signal);
    listener.clear();
    await client.clock.sleep(RECONNECT_MS, signal);
    revision = await client.revision().catch(() => null);
    if (revision !== null) addAll(changed, watched);
  }
}

/** Where a stream reports its changes and its end. */
interface Receivers<K> {
  /** The kinds that changed and were not yielded yet. */
  readonly changed: Set<K>;
  /** Notified when a kind is added, and when the stream ends. */
  readonly notifier: Notifier;
  readonly listener: Listener;
}

/** Follows one stream, until it ends or the signal aborts. */
async function* follow<K>(
  client: EtcdClient,
  watched: readonly Watched<K>[],
  from: number,
  receivers: Receivers<K>,
  signal: AbortSignal,
): AsyncGenerator<K, void, undefined> {
  const { changed, notifier } = receivers;
  const stream = openStream(client, watched, from, receivers);
  // At once, even if no caller requests another event: an open stream keeps the process alive.
  signal.addEventListener("abort", stream.close);
  const isOver = (): boolean => signal.aborted;
  try {
    while (!isOver()) {
      const kinds = [...changed];
      changed.clear();
      for (const kind of kinds) {
        if (isOver()) return;
        yield kind;
      }
      if (stream.hasEnded()) return;
      const hasNews = await notifier.wait(signal, { ms: REFRESH_MS, clock: client.clock });
      if (hasNews) continue;
      receivers.listener.clear();
      addAll(changed, watched);
    }
  } finally {
    signal.removeEventListener("abort", stream.close);
    stream.close();
  }
}

function openStream<K>(
  client: EtcdClient,
  watched: readonly Watched<K>[],
  from: number,
  { changed, notifier, listener }: Receivers<K>,
): { readonly hasEnded: () => boolean; readonly close: () => void } {
  const root = client.options.prefix;
  const { etcd, endpoint } = client.connect();
  let ended = false;
  let open: IDuplexStream<IWatchRequest, IWatchResponse> | null = null;
  // Watchers are created in the order of the requests.
  const asked = [...watched];
  const byId = new Map<string, Watched<K>>();
  const end = (): void => {
    if (ended) return;
    ended = true;
    client.leave(endpoint);
    open?.cancel();
    notifier.notify();
  };
  const hear = (response: IWatchResponse): void => {
    // Also if the first revision was compacted meanwhile.
    if (response.canceled) return end();
    const created = response.created ? asked.shift() : undefined;
    if (created !== undefined) byId.set(response.watch_id, created);
    const watcher = byId.get(response.watch_id);
    if (watcher === undefined) return;
    const changes = response.events.map(({ type, kv }) => ({
      entry: toEntry(root, kv),
      // The package's types spell it differently from its messages.
      isRemoval: type.toUpperCase() === "DELETE",
    }));
    for (const { entry, isRemoval } of changes) {
      if (isRemoval) listener.remove(entry.key, entry.modified);
      else listener.add(entry);
    }
    const { kind, only, removals, rewrites } = watcher;
    const isNews = changes.some(({ entry: { key, created, modified }, isRemoval }) => {
      if (only !== undefined && !only.includes(key)) return false;
      return isRemoval ? removals : rewrites !== false || created === modified;
    });
    if (!isNews) return;
    changed.add(kind);
    notifier.notify();
  };
  etcd.watchClient.watch().then((stream) => {
    open = stream;
    stream.on("data", hear);
    stream.on("error", end);
    stream.on("end", end);
    if (ended) return stream.cancel();
    for (const { range } of watched) {
      const { key, range_end } = toRangeRequest(root, range);
      stream.write({
        create_request: { key, ...(range_end === undefined ? {} : { range_end }), start_revision: from },
      });
    }
  }, end);
  return {
    hasEnded: () => ended,
    close: () => {
      ended = true;
      open?.cancel();
    },
  };
}

function addAll<K>(kinds: Set<K>, watched: readonly Watched<K>[]): void {
  for (const { kind } of watched) kinds.add(kind);
}
