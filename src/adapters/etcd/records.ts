/** Records that only etcd's layout has, and functions that read a record from its entry. */
import { StoreError } from "../../interfaces/store.js";
import { prefixes } from "../../store/keys.js";
import { isAddress, isCount, isLabel, isTime, isToken, optional, shaped, type Guard } from "../../model/guards.js";
import { decode, MAX_OWN_BYTES, ownRecord, type OwnRecord } from "../../store/records.js";
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

/** Leadership; a lease holds its key, and the key's creation revision is the term. */
export interface LeaderRecord {
  readonly leader: string;
  readonly holder: string;
  /** Counts the renewals, so that others see that the leader itself lives; earlier versions do not count. */
  readonly renewals?: number;
}

export const isHeartbeatRecord = shaped<HeartbeatRecord>({ id: isLabel, address: isAddress, holder: isToken });
const isSeen = shaped<SeenRecord>({ id: isLabel, address: isAddress, lastSeen: isTime });
export const isLeader = shaped<LeaderRecord>({ leader: isLabel, holder: isToken, renewals: optional(isCount) });

export const HEARTBEAT = ownRecord(prefixes.live, "heartbeat", isHeartbeatRecord, ({ id }) => id);
export const SEEN = ownRecord(prefixes.seen, "heartbeat", isSeen, ({ id }) => id);

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

/** Reads a node's record about itself; null if it is invalid or another node's. */
export function ownRecordOf<T>({ key, bytes }: Entry, { read }: OwnRecord<T>): T | null {
  try {
    return read(key, decodeValue(key, bytes, MAX_OWN_BYTES));
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
