/** Reads records within a transaction. An absent record is null; a damaged one is a StoreError. */
import type { DamagedRecord, Fence } from "../../interfaces/store.js";
import { isCount, type Guard } from "../../model/guards.js";
import type { Override } from "../../model/override.js";
import type { Suspension } from "../../model/source-control.js";
import type { Revision } from "../../model/state.js";
import { keys } from "../keys.js";
import type { Rollout } from "../../model/rollout.js";
import * as records from "../records.js";
import { isRollout, rolloutOf } from "../rollout.js";
import type { KeyValueReader } from "./key-value.js";
import { isAlive } from "../lease.js";

export function headOf(reader: KeyValueReader): number | null {
  return optionalRecord(reader, keys.head, isCount);
}

export function revisionOf(reader: KeyValueReader, number: number): Revision | null {
  const key = keys.revision(number);
  const record = reader.get(key);
  return record === undefined ? null : records.decodeRevision(record, key);
}

/** Returns the last version ever used for a policy; 0 for none. */
export function versionOf(reader: KeyValueReader, namespace: string, name: string): number {
  return optionalRecord(reader, keys.policy(namespace, name), isCount) ?? 0;
}

export function electionOf(reader: KeyValueReader): records.ElectionRecord | null {
  return optionalRecord(reader, keys.election, records.isElectionRecord);
}

/** Returns the leader; null if there is none, or if its lease expired. */
export function leaderOf(election: records.ElectionRecord | null, now: number): string | null {
  return election !== null && isAlive(election, now) ? election.leader : null;
}

/** Returns whether the term of the fence still lasts. */
export function leads(election: records.ElectionRecord | null, fence: Fence, now: number): boolean {
  return election !== null && election.term === fence.term && leaderOf(election, now) === fence.leader;
}

export function suspensionOf(reader: KeyValueReader): Suspension | null {
  return optionalRecord(reader, keys.suspension, records.isSuspension);
}

/** Returns the rollout of head; null for none. */
export function rolloutOfHead(reader: KeyValueReader): Rollout | null {
  return rolloutOf(optionalRecord(reader, keys.rollout, isRollout), headOf(reader));
}

export function overridesOf(reader: KeyValueReader): readonly Override[] {
  return optionalRecord(reader, keys.overrides, records.isOverrideList) ?? [];
}

export function optionalRecord<T>(reader: KeyValueReader, key: string, guard: Guard<T>): T | null {
  const text = reader.get(key);
  return text === undefined ? null : records.decode(text, guard, key);
}

/** Returns the records of one kind that nodes write about themselves, without damaged ones and those of other nodes. */
export function listRecords<T>(reader: KeyValueReader, { prefix, read }: records.OwnRecord<T>): readonly T[] {
  return [...reader.entries(prefix)].flatMap(([key, text]) => read(key, text) ?? []);
}

/** Returns the records that `listRecords` leaves out. */
export function listDamaged<T>(reader: KeyValueReader, kind: records.OwnRecord<T>): readonly DamagedRecord[] {
  return [...reader.entries(kind.prefix)].flatMap(([key, text]) =>
    kind.read(key, text) === null ? [records.damagedRecord(kind, key)] : [],
  );
}
