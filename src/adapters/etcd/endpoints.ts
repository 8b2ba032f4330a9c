/**
 * The endpoints of all nodes. While a watch of them stands, what it brings is kept, parsed once: a hundred nodes that each
 * read a hundred records at every change would be ten thousand reads.
 */
import type { NodeEndpoints } from "../../model/endpoints.js";
import { keys, prefixes } from "../../store/keys.js";
import { ENDPOINTS } from "../../store/records.js";
import type { EtcdClient } from "./client.js";
import { encodeLong, ownRecordOf } from "./records.js";
import type { Entry } from "./requests.js";
import type { Listener } from "./watch.js";

interface Kept {
  /** Revision of the database that wrote or removed the record. */
  readonly modified: number;
  /** Null if it was removed, or is invalid. */
  readonly endpoints: NodeEndpoints | null;
}

export class Endpoints implements Listener {
  readonly #client: EtcdClient;
  /** What the watch and the last list brought, by key. */
  readonly #kept = new Map<string, Kept>();
  /** Whether every change since now reaches `add` and `remove`. */
  #isWatching = false;
  /** Whether all records are kept. */
  #isComplete = false;
  /** Counts the times at which changes may have been missed. */
  #breaks = 0;

  constructor(client: EtcdClient) {
    this.#client = client;
  }

  async write(endpoints: NodeEndpoints): Promise<void> {
    await this.#client.transact([], [{ put: keys.endpoints(endpoints.node), bytes: encodeLong(endpoints) }]);
  }

  async list(watched: boolean): Promise<readonly NodeEndpoints[]> {
    if (watched && this.#isComplete) return this.#all();
    const breaks = this.#breaks;
    const isWatching = this.#isWatching;
    const entries = await this.#client.list({ prefix: prefixes.endpoints });
    if (!isWatching || breaks !== this.#breaks) return entries.flatMap((entry) => ownRecordOf(entry, ENDPOINTS) ?? []);
    const listed = new Set(entries.map(({ key }) => key));
    const newest = Math.max(0, ...entries.map(({ modified }) => modified));
    // What is not listed was removed, or was made after the list was read.
    for (const [key, { modified }] of this.#kept) if (!listed.has(key) && modified <= newest) this.#kept.delete(key);
    for (const entry of entries) this.add(entry);
    this.#isComplete = true;
    return this.#all();
  }

  /** The watch stands: later changes are reported. */
  begin(): void {
    this.#isWatching = true;
  }

  add(entry: Entry): void {
    if (!entry.key.startsWith(prefixes.endpoints)) return;
    const known = this.#kept.get(entry.key);
    if (known !== undefined && known.modified >= entry.modified) return;
    this.#kept.set(entry.key, { modified: entry.modified, endpoints: ownRecordOf(entry, ENDPOINTS) });
  }

  /** A removal is kept, so that a list which was read before does not bring the record back. */
  remove(key: string, modified: number): void {
    if (!key.startsWith(prefixes.endpoints)) return;
    const known = this.#kept.get(key);
    if (known === undefined || known.modified < modified) this.#kept.set(key, { modified, endpoints: null });
  }

  clear(): void {
    this.#isWatching = false;
    this.#isComplete = false;
    this.#breaks += 1;
    this.#kept.clear();
  }

  #all(): readonly NodeEndpoints[] {
    return [...this.#kept]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .flatMap(([, { endpoints }]) => (endpoints === null ? [] : [endpoints]));
  }
}
