/** Records that only etcd's layout has, and functions that read a record from its entry. */
import { StoreError } from "../../interfaces/store.js";
import { isString, shaped, type Guard } from "../../model/guards.js";
import { decode, decodeOwn } from "../../store/records.js";
import type { EtcdClient } from "./client.js";
import type { Entry } from "./requests.js";
import { compress, decodeValue, partKeys } from "./values.js";

/** A node's heartbeat; a lease holds its key. Written once for each holder, not with each heartbeat. */
export interface HeartbeatRecord {
  readonly id: string;
  readonly address: string;
  readonly holder: string;
}

/** The last time a node was known to live; outlives its lease. */
export interface SeenRecord {
  readonly id: string;
  readonly address: string;
  readonly lastSeen: string;
}

/** Leadership; a lease holds its key, and the key's creation revision is the term. Never rewritten. */
export interface LeaderRecord {
  readonly leader: string;
  readonly holder: string;
}

/** Largest decompressed size of a record that a node writes about itself. */
const MAX_OWN_BYTES = 8 * 1024 * 1024;

export const isHeartbeatRecord = shaped<HeartbeatRecord>({ id: isString, address: isString, holder: isString });
export const isSeen = shaped<SeenRecord>({ id: isString, address: isString, lastSeen: isString });
export const isLeader = shaped<LeaderRecord>({ leader: isString, holder: isString });

export function encodeRecord(record: object): Buffer {
  return Buffer.from(JSON.stringify(record));
}

/**
 * Encodes a status. It names every subject and difference of a node, and is written all the time: compressed, never in
 * parts.
 */
export function encodeLong(record: object): Buffer {
  return compress(JSON.stringify(record));
}

/** Reads the record of an entry that is never in parts. */
export function recordOf<T>(entry: Entry, guard: Guard<T>): T {
  return decode(decodeValue(entry.key, entry.bytes), guard, entry.key);
}

/** Reads a node's record about itself, under `<prefix><id>`; null if it is invalid or another node's. */
export function ownRecordOf<T>(entry: Entry, prefix: string, guard: Guard<T>, idOf: (record: T) => string): T | null {
  const id = entry.key.slice(prefix.length);
  try {
    return decodeOwn(decodeValue(entry.key, entry.bytes, MAX_OWN_BYTES), guard, id, idOf);
  } catch (error) {
    if (error instanceof StoreError) return null;
    throw error;
  }
}

/**
 * Returns the texts of entries; fetches the parts of long ones.
 * @throws StoreError `store-damaged`
 */
export async function readTexts(client: EtcdClient, entries: readonly Entry[]): Promise<ReadonlyMap<string, string>> {
  const wanted = new Map(entries.map((entry) => [entry.key, partKeys(entry.bytes)]));
  const parts = await client.getMany([...wanted.values()].flat());
  return new Map(
    entries.map((entry) => {
      const names = wanted.get(entry.key) ?? [];
      if (names.length === 0) return [entry.key, decodeValue(entry.key, entry.bytes)];
      const found = names.flatMap((name) => parts.get(name)?.bytes ?? []);
      if (found.length < names.length) {
        throw new StoreError(
          "store-damaged",
          `parts of the store's record ${entry.key} are missing; restore the store from a backup`,
        );
      }
      return [entry.key, decodeValue(entry.key, Buffer.concat(found))];
    }),
  );
}
