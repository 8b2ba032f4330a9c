/**
 * Watching ranges of keys over a raw stream. A watcher here learns nothing from an event but that it
 * must look: after a lost stream, a compaction or a long silence it says so for every range, reads
 * where the database stands, and watches from there. Nothing has to be resumed, so nothing can be
 * lost by resuming wrongly.
 */
import type { IWatchRequest, IWatchResponse, IDuplexStream } from "etcd3";
import type { EtcdClient } from "./client.js";
import { toRangeRequest, type Range } from "./requests.js";

/** How long a stream that says nothing is trusted. */
const REFRESH_MS = 180_000;
/** Constant: after an outage every node is back within about a second. */
const RECONNECT_MS = 500;

export interface Watched<K> {
  readonly kind: K;
  readonly range: Range;
  /** Whether it counts when a key goes away. */
  readonly removals: boolean;
}

/**
 * Yields `null` once, when the watch holds: what changes from then on is heard of. Then the kind of
 * each range that has changed, coalesced, and every kind where changes may have been missed. Ends
 * when the signal aborts.
 * @throws StoreError where etcd cannot be reached at the very beginning
 */
export async function* watchKinds<K>(
  client: EtcdClient,
  watched: readonly Watched<K>[],
  signal: AbortSignal,
): AsyncGenerator<K | null, void, undefined> {
  const bell = new Bell<K>();
  const ring = (): void => bell.ring();
  signal.addEventListener("abort", ring);
  const kinds = new Set(watched.map(({ kind }) => kind));
  try {
    let revision: number | null = await client.revision();
    yield null;
    while (!signal.aborted) {
      if (revision !== null) yield* follow(client, watched, revision + 1, bell, signal);
      await client.clock.sleep(RECONNECT_MS, signal);
      revision = await client.revision().catch(() => null);
      if (revision !== null) bell.add(kinds);
    }
  } finally {
    signal.removeEventListener("abort", ring);
  }
}

/** One stream, until it ends or the signal aborts. */
async function* follow<K>(
  client: EtcdClient,
  watched: readonly Watched<K>[],
  from: number,
  bell: Bell<K>,
  signal: AbortSignal,
): AsyncGenerator<K, void, undefined> {
  const stream = openStream(client, watched, from, bell);
  // At once, also where nobody asks for the next event any more: an open stream keeps the process.
  signal.addEventListener("abort", stream.close);
  const isOver = (): boolean => signal.aborted;
  try {
    while (!isOver()) {
      for (const kind of bell.take()) {
        if (isOver()) return;
        yield kind;
      }
      if (stream.hasEnded()) return;
      const isSilent = await bell.wait(client, REFRESH_MS);
      if (isSilent) bell.add(new Set(watched.map(({ kind }) => kind)));
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
  bell: Bell<K>,
): { readonly hasEnded: () => boolean; readonly close: () => void } {
  const root = client.options.prefix;
  const { etcd, endpoint } = client.connect();
  let ended = false;
  let open: IDuplexStream<IWatchRequest, IWatchResponse> | null = null;
  const end = (): void => {
    if (ended) return;
    ended = true;
    client.leave(endpoint);
    open?.cancel();
    bell.ring();
  };
  const hear = (response: IWatchResponse): void => {
    // Also where the revision to begin with was compacted meanwhile.
    if (response.canceled) return end();
    const changes = response.events.map(({ type, kv }) => ({
      key: kv.key.toString().slice(root.length),
      // The package's types write it otherwise than its messages do.
      isRemoval: type.toUpperCase() === "DELETE",
    }));
    const rung = watched.filter(({ range, removals }) =>
      changes.some(({ key, isRemoval }) => covers(range, key) && (removals || !isRemoval)),
    );
    bell.add(new Set(rung.map(({ kind }) => kind)));
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

function covers({ prefix, exact = false }: Range, key: string): boolean {
  return exact ? key === prefix : key.startsWith(prefix);
}

/** What rang since it was last asked, and a wait for the next time. Wake-ups that come together count as one. */
class Bell<K> {
  readonly #rung = new Set<K>();
  #isWoken = false;
  #nap: AbortController | null = null;

  add(kinds: ReadonlySet<K>): void {
    for (const kind of kinds) this.#rung.add(kind);
    if (kinds.size > 0) this.ring();
  }

  ring(): void {
    this.#isWoken = true;
    this.#nap?.abort();
  }

  take(): readonly K[] {
    const kinds = [...this.#rung];
    this.#rung.clear();
    return kinds;
  }

  /** True where nothing rang for so long. */
  async wait({ clock }: Pick<EtcdClient, "clock">, ms: number): Promise<boolean> {
    this.#nap = new AbortController();
    if (!this.#isWoken) await clock.sleep(ms, this.#nap.signal);
    const isSilent = !this.#isWoken;
    this.#isWoken = false;
    return isSilent;
  }
}
