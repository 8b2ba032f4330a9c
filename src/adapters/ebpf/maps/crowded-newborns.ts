/**
 * Crowded newborns: the cgroups that only a pattern tells and that found no room: by id (ztap_crowded), or as a range of ids below
 * the cgroup above them (ztap_overflows).
 */
import { ABI, OVERFLOW } from "../kernel/abi.generated.js";
import { kernel, type Native } from "../kernel/native.js";

export interface CrowdedNewborn {
  readonly cgroupId: bigint;
  readonly isContainer: boolean;
  /** Sockets in it may live. */
  readonly isRemoved: boolean;
}

/** Below a cgroup, which others are closed unless something else is known of them. */
export interface Overflow {
  readonly parent: bigint;
  readonly first: bigint;
  readonly last: bigint;
  /** How many of them live, removed ones with sockets included. */
  readonly inside: number;
}

export class CrowdedNewborns {
  constructor(
    private readonly native: Native,
    private readonly maps: { readonly crowded: number; readonly overflows: number; readonly containers: number },
  ) {}

  crowded(): readonly CrowdedNewborn[] {
    const { count, keys, values } = kernel("Reading crowded cgroups", () => this.native.mapRead(this.maps.crowded));
    return Array.from({ length: count }, (_, at) => {
      const kind = values.readUInt8(at);
      return {
        cgroupId: keys.readBigUInt64LE(at * 8),
        isContainer: (kind & ABI.CROWDED_CONTAINER) !== 0,
        isRemoved: (kind & ABI.CROWDED_REMOVED) !== 0,
      };
    });
  }

  /** Returns the ranges that close anything. */
  overflows(): readonly Overflow[] {
    const { count, keys, values } = kernel("Reading crowded cgroups", () => this.native.mapRead(this.maps.overflows));
    return Array.from({ length: count }, (_, at) => {
      const value = values.subarray(at * OVERFLOW.size, (at + 1) * OVERFLOW.size);
      return {
        parent: keys.readBigUInt64LE(at * 8),
        first: value.readBigUInt64LE(OVERFLOW.first),
        last: value.readBigUInt64LE(OVERFLOW.last),
        inside: value.readUInt32LE(OVERFLOW.inside),
      };
    }).filter(({ last }) => last !== 0n);
  }

  deleteCrowded(cgroupIds: readonly bigint[]): void {
    const keys = Buffer.concat(cgroupIds.map(keyOf));
    kernel("Deleting crowded cgroups", () => {
      this.native.mapDelete(this.maps.crowded, keys);
      this.native.mapDelete(this.maps.containers, keys);
    });
  }

  /** Keeps the ID of a container that is in the name of a cgroup. */
  noteContainer(cgroupId: bigint, container: string): void {
    const value = Buffer.from(container, "latin1");
    if (value.length !== ABI.CONTAINER_DIGITS) throw new TypeError(`${container} is no container's ID`);
    kernel("Writing a newborn container", () => this.native.mapSet(this.maps.containers, keyOf(cgroupId), value));
  }
}

function keyOf(cgroupId: bigint): Buffer {
  const key = Buffer.alloc(8);
  key.writeBigUInt64LE(cgroupId);
  return key;
}
