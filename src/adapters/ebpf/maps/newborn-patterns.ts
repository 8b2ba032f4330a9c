/**
 * Newborn patterns: which newborn cgroups get a record though no path tells them (ztap_patterns, ztap_parts), and the containers
 * that are closed until they are identified (ztap_containers).
 */
import type { CgroupPattern } from "../../../model/ruleset.js";
import { ABI, PART, PART_KEY, PATTERN } from "../kernel/abi.generated.js";
import { kernel, type Native } from "../kernel/native.js";
import { cgroupParts } from "../kernel/paths.js";
import { decodeStorage, encodeStorage, type CgroupStorage } from "./cgroup-storage.js";

/** One pattern in the kernel's table. */
export interface HeldPattern {
  readonly key: number;
  /** As that of a name; see NewbornNames. */
  readonly node: number;
  /** Of several patterns that match, the lowest counts. */
  readonly rank: number;
  /** Null: what looks like a container. */
  readonly pattern: CgroupPattern | null;
  readonly record: CgroupStorage;
}

/** Returns a text that is equal for equal patterns. */
export function patternIdentity(pattern: CgroupPattern | null): string {
  if (pattern === null) return "containers";
  return "cgroup" in pattern ? `path ${cgroupParts(pattern.cgroup).join("/")}` : `unit ${pattern.systemdUnit}`;
}

export class NewbornPatterns {
  constructor(
    private readonly native: Native,
    private readonly maps: {
      readonly patterns: number;
      readonly parts: number;
      readonly containers: number;
      readonly living: number;
    },
  ) {}

  /** Returns every pattern. */
  patterns(): readonly HeldPattern[] {
    const { count, keys, values } = kernel("Reading the patterns of cgroups", () =>
      this.native.mapRead(this.maps.patterns),
    );
    const parts = this.#parts();
    return Array.from({ length: count }, (_, at) => {
      const key = keys.readUInt32LE(at * 4);
      const value = values.subarray(at * PATTERN.size, (at + 1) * PATTERN.size);
      const level = value.readUInt32LE(PATTERN.level);
      return {
        key,
        node: value.readUInt32LE(PATTERN.node),
        rank: value.readUInt32LE(PATTERN.rank),
        pattern: key === ABI.PATTERN_CONTAINERS ? null : readPattern(value, key, level, parts),
        record: decodeStorage(value.subarray(PATTERN.record)),
      };
    });
  }

  /** Returns the IDs of closed containers, by cgroup id. */
  containers(): ReadonlyMap<bigint, string> {
    const { count, keys, values } = kernel("Reading newborn containers", () =>
      this.native.mapRead(this.maps.containers),
    );
    const digits = ABI.CONTAINER_DIGITS;
    return new Map(
      Array.from({ length: count }, (_, at) => [
        keys.readBigUInt64LE(at * 8),
        values.subarray(at * digits, (at + 1) * digits).toString("latin1"),
      ]),
    );
  }

  write({ key, node, rank, pattern, record }: HeldPattern): void {
    const parts = pattern === null ? [""] : "cgroup" in pattern ? cgroupParts(pattern.cgroup) : [pattern.systemdUnit];
    const own = parts.at(-1) ?? "";
    const value = Buffer.alloc(PATTERN.size);
    value.writeUInt32LE(node, PATTERN.node);
    value.writeUInt32LE(rank, PATTERN.rank);
    value.writeUInt32LE(pattern !== null && "cgroup" in pattern ? parts.length : 0, PATTERN.level);
    value.writeUInt32LE(Buffer.byteLength(own), PATTERN.length);
    value.write(own, PATTERN.text);
    encodeStorage(record).copy(value, PATTERN.record);
    kernel("Writing a pattern of cgroups", () => {
      // Before the pattern: a newborn whose pattern has no count finds no room.
      if (this.native.mapGet(this.maps.living, word(node)) === null)
        this.native.mapSet(this.maps.living, word(node), Buffer.alloc(4));
      parts.slice(0, -1).forEach((part, at) => this.#writePart(key, at + 1, part));
      this.native.mapSet(this.maps.patterns, word(key), value);
    });
  }

  delete({ key, node, pattern }: HeldPattern): void {
    const levels = pattern !== null && "cgroup" in pattern ? cgroupParts(pattern.cgroup).length : 1;
    kernel("Deleting a pattern of cgroups", () => {
      this.native.mapDelete(this.maps.patterns, word(key));
      for (let level = 1; level < levels; level++) this.native.mapDelete(this.maps.parts, partKey(key, level));
      this.native.mapDelete(this.maps.living, word(node));
    });
  }

  #writePart(key: number, level: number, part: string): void {
    const value = Buffer.alloc(PART.size);
    value.writeUInt32LE(Buffer.byteLength(part), PART.length);
    value.write(part, PART.text);
    this.native.mapSet(this.maps.parts, partKey(key, level), value);
  }

  /** By key and depth. */
  #parts(): ReadonlyMap<string, string> {
    const { count, keys, values } = kernel("Reading the parts of patterns", () => this.native.mapRead(this.maps.parts));
    return new Map(
      Array.from({ length: count }, (_, at) => {
        const key = keys.subarray(at * PART_KEY.size, (at + 1) * PART_KEY.size);
        const value = values.subarray(at * PART.size, (at + 1) * PART.size);
        const length = Math.min(value.readUInt32LE(PART.length), ABI.NAME_BYTES);
        return [
          `${key.readUInt32LE(PART_KEY.pattern)}/${key.readUInt32LE(PART_KEY.level)}`,
          value.toString("utf8", PART.text, PART.text + length),
        ];
      }),
    );
  }
}

function readPattern(value: Buffer, key: number, level: number, parts: ReadonlyMap<string, string>): CgroupPattern {
  const length = Math.min(value.readUInt32LE(PATTERN.length), ABI.NAME_BYTES);
  const own = value.toString("utf8", PATTERN.text, PATTERN.text + length);
  if (level === 0) return { systemdUnit: own };
  const above = Array.from({ length: level - 1 }, (_, at) => parts.get(`${key}/${at + 1}`) ?? "");
  return { cgroup: [...above, own].join("/") };
}

function partKey(pattern: number, level: number): Buffer {
  const key = Buffer.alloc(PART_KEY.size);
  key.writeUInt32LE(pattern, PART_KEY.pattern);
  key.writeUInt32LE(level, PART_KEY.level);
  return key;
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
