/**
 * Cgroup storage: the value that a workload's cgroup holds for its programs (struct ztap_cgroup).
 *
 * One write replaces the whole value at once, so that a half that is in force can stay unchanged while the other is
 * prepared.
 */
import { OVERRIDE_KINDS } from "../../../model/override.js";
import { EnforcerError } from "../../../interfaces/enforcer.js";
import { ABI, CGROUP, SUBJECT } from "../kernel/abi.generated.js";
import type { SubjectRecord } from "../lower/image.js";
import { isNativeFailure, kernel, type Native } from "../kernel/native.js";
import { sameSlotShare, type SlotShare } from "./slot-shares.js";
import type { SetIndex } from "./table-sets.js";

export interface CgroupStorage {
  readonly cgroup: bigint;
  readonly subject: number;
  readonly level: number;
  readonly share: SlotShare;
  /** Every connection of the cgroup has a role: one without a role is refused. */
  readonly areRolesKnown: boolean;
  /** Other newborn cgroups have the same subject. */
  readonly isShared: boolean;
  /** The subject under which the cgroup may have been born, whose flows are its own; 0: none. */
  readonly born: number;
  /** It is the host's: its programs leave alone what other workloads have. */
  readonly isHost: boolean;
  readonly sets: readonly [SubjectRecord, SubjectRecord];
}

/** Reads the storage; null if the cgroup has none, because nothing was ever attached to it. */
export function readStorage(native: Native, fd: number, cgroupId: bigint): CgroupStorage | null {
  const value = kernel("Reading a cgroup's storage", () => native.mapGet(fd, keyOf(cgroupId)));
  return value === null ? null : decodeStorage(value);
}

/** Writes the storage, which must exist. */
export function writeStorage(native: Native, fd: number, cgroupId: bigint, storage: CgroupStorage): void {
  kernel("Writing a cgroup's storage", () => native.mapSet(fd, keyOf(cgroupId), encodeStorage(storage)));
}

/**
 * Writes the storage of a cgroup that may be removed meanwhile: its owner may do that at any moment.
 * @returns whether there was a storage to write
 */
export function writeStorageIfAny(native: Native, fd: number, cgroupId: bigint, storage: CgroupStorage): boolean {
  try {
    writeStorage(native, fd, cgroupId, storage);
    return true;
  } catch (error) {
    if (error instanceof EnforcerError && isNativeFailure(error.cause) && error.cause.code === "ENOENT") return false;
    throw error;
  }
}

/** Returns whether the workload's programs let everything pass and learn, beside those of another version. */
export function isLearning({ share }: CgroupStorage): boolean {
  return share.slot === ABI.SLOT_LEARNING;
}

function sameRecord(a: SubjectRecord, b: SubjectRecord): boolean {
  return (
    a.ingressMode === b.ingressMode &&
    a.egressMode === b.egressMode &&
    a.hasOwnSources === b.hasOwnSources &&
    a.asksIdentity === b.asksIdentity &&
    a.override?.kind === b.override?.kind &&
    a.override?.until === b.override?.until &&
    a.ingressProfile === b.ingressProfile &&
    a.egressProfile === b.egressProfile &&
    a.identityProfile === b.identityProfile
  );
}

export function sameStorage(a: CgroupStorage, b: CgroupStorage): boolean {
  return (
    a.cgroup === b.cgroup &&
    a.subject === b.subject &&
    a.level === b.level &&
    a.areRolesKnown === b.areRolesKnown &&
    a.isShared === b.isShared &&
    a.born === b.born &&
    a.isHost === b.isHost &&
    sameSlotShare(a.share, b.share) &&
    sameRecord(a.sets[0], b.sets[0]) &&
    sameRecord(a.sets[1], b.sets[1])
  );
}

export function withSet(storage: CgroupStorage, set: SetIndex, record: SubjectRecord): CgroupStorage {
  return { ...storage, sets: set === 0 ? [record, storage.sets[1]] : [storage.sets[0], record] };
}

function keyOf(cgroupId: bigint): Buffer {
  const key = Buffer.alloc(8);
  key.writeBigUInt64LE(cgroupId);
  return key;
}

export function encodeStorage(storage: CgroupStorage): Buffer {
  const value = Buffer.alloc(CGROUP.size);
  value.writeBigUInt64LE(storage.cgroup, CGROUP.cgroup);
  value.writeUInt32LE(storage.subject, CGROUP.subject);
  value.writeUInt32LE(storage.level, CGROUP.level);
  value.writeUInt32LE(storage.share.slot, CGROUP.slot);
  value.writeUInt32LE(storage.share.flowsFirst, CGROUP.flowsFirst);
  value.writeUInt32LE(storage.share.flowsSize, CGROUP.flowsSize);
  const flags =
    (storage.areRolesKnown ? ABI.ROLES_KNOWN : 0) |
    (storage.isShared ? ABI.SHARED : 0) |
    (storage.isHost ? ABI.IS_HOST : 0);
  value.writeUInt32LE(flags, CGROUP.flags);
  value.writeUInt32LE(storage.born, CGROUP.born);
  storage.sets.forEach((record, set) => encodeSubjectRecord(record).copy(value, CGROUP.set + set * SUBJECT.size));
  return value;
}

const OVERRIDES = { quarantine: ABI.QUARANTINED, breakglass: ABI.BREAKGLASS };

export function encodeSubjectRecord(record: SubjectRecord): Buffer {
  const value = Buffer.alloc(SUBJECT.size);
  value.writeUInt32LE(record.ingressProfile, SUBJECT.ingressProfile);
  value.writeUInt32LE(record.egressProfile, SUBJECT.egressProfile);
  value.writeUInt8(record.ingressMode, SUBJECT.ingressMode);
  value.writeUInt8(record.egressMode, SUBJECT.egressMode);
  const override = record.override === null ? 0 : OVERRIDES[record.override.kind];
  const flags = (record.hasOwnSources ? ABI.OWN_SOURCES : 0) | (record.asksIdentity ? ABI.ASKS_IDENTITY : 0) | override;
  value.writeUInt16LE(flags, SUBJECT.flags);
  value.writeUInt32LE(record.identityProfile, SUBJECT.identityProfile);
  value.writeUInt32LE(record.override?.until ?? 0, SUBJECT.until);
  return value;
}

export function decodeStorage(value: Buffer): CgroupStorage {
  const record = (set: number): SubjectRecord => {
    const at = CGROUP.set + set * SUBJECT.size;
    const flags = value.readUInt16LE(at + SUBJECT.flags);
    const kind = OVERRIDE_KINDS.find((one) => (flags & OVERRIDES[one]) !== 0);
    return {
      ingressProfile: value.readUInt32LE(at + SUBJECT.ingressProfile),
      egressProfile: value.readUInt32LE(at + SUBJECT.egressProfile),
      ingressMode: value.readUInt8(at + SUBJECT.ingressMode),
      egressMode: value.readUInt8(at + SUBJECT.egressMode),
      identityProfile: value.readUInt32LE(at + SUBJECT.identityProfile),
      hasOwnSources: (flags & ABI.OWN_SOURCES) !== 0,
      asksIdentity: (flags & ABI.ASKS_IDENTITY) !== 0,
      override: kind === undefined ? null : { kind, until: value.readUInt32LE(at + SUBJECT.until) },
    };
  };
  return {
    cgroup: value.readBigUInt64LE(CGROUP.cgroup),
    subject: value.readUInt32LE(CGROUP.subject),
    level: value.readUInt32LE(CGROUP.level),
    share: {
      slot: value.readUInt32LE(CGROUP.slot),
      flowsFirst: value.readUInt32LE(CGROUP.flowsFirst),
      flowsSize: value.readUInt32LE(CGROUP.flowsSize),
    },
    areRolesKnown: (value.readUInt32LE(CGROUP.flags) & ABI.ROLES_KNOWN) !== 0,
    isShared: (value.readUInt32LE(CGROUP.flags) & ABI.SHARED) !== 0,
    born: value.readUInt32LE(CGROUP.born),
    isHost: (value.readUInt32LE(CGROUP.flags) & ABI.IS_HOST) !== 0,
    sets: [record(0), record(1)],
  };
}
