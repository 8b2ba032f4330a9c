/** Reads revisions and their objects. Both never change once written, so that they can be cached. */
import type { CommittedState, Revision, StateObject } from "../../model/state.js";
import { refKey } from "../../model/state.js";
import { StoreError } from "../../interfaces/store.js";
import { isCount } from "../../model/guards.js";
import { keys, prefixes } from "../../store/keys.js";
import { decodeObject, decodeRevision } from "../../store/records.js";
import type { EtcdClient } from "./client.js";
import type { WatchCache } from "./watch-cache.js";
import { readTexts, recordOf } from "./records.js";
import type { Entry } from "./requests.js";

/** Number of manifests in one request; manifests may be long. */
const PAGE = 20;

export class History {
  readonly #client: EtcdClient;
  /** The objects of the state that was read last, by digest: the next state is mostly the same. */
  #objects: ReadonlyMap<string, StateObject> = new Map();
  readonly #watchCache: WatchCache;
  #newest = 0;
  /** The revision that was read last: followers read head's again and again. */
  #last: { readonly entry: Entry; readonly revision: Revision } | null = null;

  constructor(client: EtcdClient, watchCache: WatchCache) {
    this.#client = client;
    this.#watchCache = watchCache;
  }

  /** Returns head as a watch brought it, once; null if it brought nothing, or if this handle knows a newer head. */
  takeWatchedHead(): number | null {
    const watched = this.#watchCache.take(keys.head);
    const said = watched === null ? null : recordOf(watched, isCount);
    return said !== null && said >= this.#newest ? this.noteHead(said) : null;
  }

  async readHead(): Promise<number | null> {
    const entry = await this.#client.get(keys.head);
    return this.noteHead(entry === null ? null : recordOf(entry, isCount));
  }

  /** Notes head as this handle has just read or written it. */
  noteHead(number: number | null): number | null {
    this.#newest = number ?? 0;
    return number;
  }

  async readRevision(number: number): Promise<Revision | null> {
    const key = keys.revision(number);
    const last = this.#last?.entry.key === key ? this.#last : null;
    const entry = this.#watchCache.take(key) ?? (await this.#readUnless(key, last?.entry ?? null));
    if (entry === null) return null;
    const revision = last !== null && entry === last.entry ? last.revision : await this.decodeRevision(entry);
    this.#last = { entry, revision };
    return revision;
  }

  /** Reads a manifest from etcd only if it is not the known one, which is returned otherwise. */
  async #readUnless(key: string, known: Entry | null): Promise<Entry | null> {
    if (known === null) return this.#client.get(key);
    const conditions = [{ key, modified: known.modified }];
    const { succeeded, found } = await this.#client.transact(conditions, [], [{ get: key }]);
    return succeeded ? known : (found.flat()[0] ?? null);
  }

  async decodeRevision(entry: Entry): Promise<Revision> {
    const texts = await readTexts(this.#client, [entry]);
    const revision = decodeRevision(texts.get(entry.key) ?? "", entry.key);
    if (keys.revision(revision.number) === entry.key) return revision;
    throw new StoreError(
      "store-damaged",
      `the store's record ${entry.key} is revision ${revision.number}; restore the store from a backup`,
    );
  }

  async readState(number: number): Promise<CommittedState> {
    const revision = await this.readRevision(number);
    if (revision === null) throw missing(number);
    const unknown = revision.entries.map(({ digest }) => digest).filter((digest) => !this.#objects.has(digest));
    const entries = await this.#readObjects([...new Set(unknown)].map(keys.object));
    const texts = await readTexts(this.#client, [...entries.values()]);
    // Objects that a prune removed meanwhile are no damage.
    if (entries.size < new Set(unknown).size && (await this.#client.get(keys.revision(number))) === null)
      throw missing(number);
    const objects = new Map(
      revision.entries.map((entry) => {
        const { ref, object, digest } =
          this.#objects.get(entry.digest) ?? decodeObject(texts.get(keys.object(entry.digest)), entry);
        const { position } = entry;
        return [refKey(entry), position === undefined ? { ref, object, digest } : { ref, object, digest, position }];
      }),
    );
    this.#objects = new Map([...objects.values()].map((object) => [object.digest, object]));
    return { revision, objects };
  }

  async #readObjects(wanted: readonly string[]): Promise<ReadonlyMap<string, Entry>> {
    const watched = wanted.flatMap((key) => this.#watchCache.take(key) ?? []);
    const known = new Set(watched.map(({ key }) => key));
    const asked = await this.#client.getMany(wanted.filter((key) => !known.has(key)));
    return new Map([...watched.map((entry) => [entry.key, entry] as const), ...asked]);
  }

  /** Returns revisions, newest first. */
  async list({ limit, before }: { readonly limit: number; readonly before?: number }): Promise<readonly Revision[]> {
    const found: Revision[] = [];
    let below = Math.min(((await this.readHead()) ?? 0) + 1, before ?? Infinity);
    while (found.length < limit && below > 1) {
      const page = Math.min(PAGE, limit - found.length);
      const entries = await this.#client.list({
        prefix: prefixes.revisions,
        before: keys.revision(below),
        descending: true,
        limit: page,
      });
      for (const entry of entries) found.push(await this.decodeRevision(entry));
      if (entries.length < page) break;
      below = found.at(-1)?.number ?? 1;
    }
    return found;
  }

  /** Returns the last version ever used: head's own for a policy in it, otherwise the one kept at its deletion. */
  async readPolicyVersion(namespace: string, name: string): Promise<number> {
    const key = keys.policy(namespace, name);
    const { found } = await this.#client.transact([], [{ get: key }, { get: keys.head }]);
    const [kept] = found[0] ?? [];
    const [head] = found[1] ?? [];
    const revision = head === undefined ? null : await this.readRevision(recordOf(head, isCount));
    const entry = revision?.entries.find(
      (candidate) => candidate.kind === "NetworkPolicy" && candidate.namespace === namespace && candidate.name === name,
    );
    return Math.max(entry?.version ?? 0, kept === undefined ? 0 : recordOf(kept, isCount));
  }
}

function missing(number: number): StoreError {
  return new StoreError(
    "revision-missing",
    `revision ${number} is not in the store: it was pruned, or never committed`,
  );
}
