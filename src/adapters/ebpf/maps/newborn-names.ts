/**
 * Newborn names: the tree of paths under which a newborn cgroup gets a workload's record (ztap_names), and the cgroups
 * that stand in it (ztap_newborns).
 *
 * A node stands for one path. Nodes are numbered upwards and never used again, so that an old entry cannot be taken for
 * another path.
 */
import { ABI, NAME, NAME_KEY, NEWBORN } from "../kernel/abi.generated.js";
import { kernel, type Native } from "../kernel/native.js";
import { decodeStorage, encodeStorage, type CgroupStorage } from "./cgroup-storage.js";

/** One path: (node of the path above it, last part) → its own node. */
export interface Name {
  readonly key: string;
  readonly node: number;
  /** What a newborn cgroup of this path gets; null above the workloads. */
  readonly record: CgroupStorage | null;
}

export interface Newborn {
  readonly cgroupId: bigint;
  readonly node: number;
  /** The subject whose cgroup it is, or 0. */
  readonly owner: number;
  /** The workload's programs, or the record, decide: the host's policy does not hold. */
  readonly isCovered: boolean;
  /** It found no room when it was born, and is closed until the agent knows whose it is. */
  readonly isClosed: boolean;
  /** It is no workload's, though its name looks so. */
  readonly isReleased: boolean;
  /** Sockets in it may live. */
  readonly isRemoved: boolean;
  /** Whatever has no entry below it is closed. */
  readonly isOverflown: boolean;
  /** Null if no record decides. */
  readonly record: CgroupStorage | null;
}

/** Returns the key of a name: the bytes of struct ztap_name_key, hexadecimal. */
export function nameKey(parent: number, part: string): string {
  const bytes = Buffer.alloc(NAME_KEY.size);
  bytes.writeUInt32LE(parent, NAME_KEY.parent);
  if (Buffer.byteLength(part) >= ABI.NAME_BYTES) throw new TypeError(`the cgroup name ${part} is too long`);
  bytes.write(part, NAME_KEY.name);
  return bytes.toString("hex");
}

export class NewbornNames {
  constructor(
    private readonly native: Native,
    private readonly maps: { readonly names: number; readonly newborns: number; readonly living: number },
  ) {}

  /** Returns every name, by key. */
  names(): ReadonlyMap<string, Name> {
    const { count, keys, values } = kernel("Reading the names of cgroups", () => this.native.mapRead(this.maps.names));
    const found = new Map<string, Name>();
    for (let at = 0; at < count; at++) {
      const key = keys.subarray(at * NAME_KEY.size, (at + 1) * NAME_KEY.size).toString("hex");
      const value = values.subarray(at * NAME.size, (at + 1) * NAME.size);
      found.set(key, { key, node: value.readUInt32LE(NAME.node), record: recordIn(value, NAME.record) });
    }
    return found;
  }

  newborns(): readonly Newborn[] {
    const { count, keys, values } = kernel("Reading newborn cgroups", () => this.native.mapRead(this.maps.newborns));
    return Array.from({ length: count }, (_, at) =>
      decodeNewborn(keys.readBigUInt64LE(at * 8), values.subarray(at * NEWBORN.size, (at + 1) * NEWBORN.size)),
    );
  }

  /** Returns a cgroup's entry; null if it has none. */
  newborn(cgroupId: bigint): Newborn | null {
    const key = Buffer.alloc(8);
    key.writeBigUInt64LE(cgroupId);
    const value = kernel("Reading a newborn cgroup", () => this.native.mapGet(this.maps.newborns, key));
    return value === null ? null : decodeNewborn(cgroupId, value);
  }

  write({ key, node, record }: Name): void {
    const value = Buffer.alloc(NAME.size);
    value.writeUInt32LE(node, NAME.node);
    if (record !== null) encodeStorage(record).copy(value, NAME.record);
    const count = nodeKey(node);
    kernel("Writing a name of cgroups", () => {
      // Before the name: a newborn whose name has no count finds no room.
      if (this.native.mapGet(this.maps.living, count) === null)
        this.native.mapSet(this.maps.living, count, Buffer.alloc(4));
      this.native.mapSet(this.maps.names, Buffer.from(key, "hex"), value);
    });
  }

  delete({ key, node }: Name): void {
    kernel("Deleting a name of cgroups", () => {
      this.native.mapDelete(this.maps.names, Buffer.from(key, "hex"));
      this.native.mapDelete(this.maps.living, nodeKey(node));
    });
  }
}

function nodeKey(node: number): Buffer {
  const key = Buffer.alloc(4);
  key.writeUInt32LE(node);
  return key;
}

function decodeNewborn(cgroupId: bigint, value: Buffer): Newborn {
  const flags = value.readUInt32LE(NEWBORN.flags);
  return {
    cgroupId,
    node: value.readUInt32LE(NEWBORN.node),
    owner: value.readUInt32LE(NEWBORN.owner),
    isCovered: (flags & ABI.COVERED) !== 0,
    isClosed: (flags & ABI.CLOSED) !== 0,
    isReleased: (flags & ABI.RELEASED) !== 0,
    isRemoved: (flags & ABI.REMOVED) !== 0,
    isOverflown: (flags & ABI.OVERFLOWN) !== 0,
    record: recordIn(value, NEWBORN.record),
  };
}

function recordIn(value: Buffer, at: number): CgroupStorage | null {
  const record = decodeStorage(value.subarray(at));
  return record.subject === 0 ? null : record;
}
