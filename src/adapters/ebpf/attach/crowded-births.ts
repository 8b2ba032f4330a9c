/**
 * Crowded births: newborn cgroups that only a pattern tells and that found no room wait for the agent as others do. Where even
 * their ids found none, it finds them by the range of ids in which they are, and ends the range when each of them is known.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { WaitingCgroup } from "../../../interfaces/enforcer.js";
import { ABI, ENDED, KNOWN } from "../kernel/abi.generated.js";
import { mapOf, programOf } from "../kernel/load.js";
import { kernel } from "../kernel/native.js";
import { END_OVERFLOW, KNOW, RELEASE } from "../kernel/programs.js";
import { CrowdedNewborns, type Overflow } from "../maps/crowded-newborns.js";
import type { Newborn, NewbornNames } from "../maps/newborn-names.js";
import type { BirthParts } from "./birth-programs.js";
import { findCgroup } from "./locate.js";

/** What lives in ranges beyond this many stays closed by them: names and patterns need room for newborns as well. */
const MOST_CLOSED = ABI.MAX_CROWDED;

export class CrowdedBirths {
  readonly #crowded: CrowdedNewborns;

  constructor(
    private readonly parts: BirthParts,
    private readonly names: NewbornNames,
  ) {
    const { native, object } = parts;
    this.#crowded = new CrowdedNewborns(native, {
      crowded: mapOf(object, "ztap_crowded"),
      overflows: mapOf(object, "ztap_overflows"),
      containers: mapOf(object, "ztap_containers"),
    });
  }

  /** Finds the cgroups in each range, so that they wait. */
  identify(): void {
    const overflows = this.#crowded.overflows();
    if (overflows.length === 0) return;
    const newborns = new Map(this.names.newborns().map((one) => [one.cgroupId, one]));
    const crowded = new Set(this.#crowded.crowded().map(({ cgroupId }) => cgroupId));
    let room = MOST_CLOSED - [...newborns.values()].filter(({ isClosed }) => isClosed).length;
    for (const overflow of overflows) {
      let known = 0;
      for (const { name, cgroupId } of this.#childrenIn(overflow)) {
        if (!crowded.has(cgroupId) && !isKnown(newborns.get(cgroupId))) {
          if (room <= 0) continue;
          room -= 1;
          this.#close(cgroupId, name);
        }
        known += 1;
      }
      // Of removed ones nothing but the range is known: their sockets must not pass.
      if (known === overflow.inside) this.#end(overflow.parent, overflow.last);
    }
  }

  /** @param containers the IDs of containers, by cgroup id */
  waiting(newborns: readonly Newborn[], containers: ReadonlyMap<bigint, string>): readonly WaitingCgroup[] {
    const crowded = this.#crowded
      .crowded()
      .filter(({ isRemoved }) => !isRemoved)
      .map(({ cgroupId, isContainer }) => ({
        id: cgroupId,
        container: isContainer ? (containers.get(cgroupId) ?? "") : null,
      }));
    const ids = new Set(crowded.map(({ id }) => id));
    const closed = newborns
      .filter((one) => one.isClosed && one.owner === 0 && !one.isRemoved && !ids.has(one.cgroupId))
      // It may have been removed just before it was marked: then the kernel did not note that.
      .filter(({ cgroupId }) => this.#pathOf(cgroupId) !== null)
      .map(({ cgroupId }) => ({ id: cgroupId, container: containers.get(cgroupId) ?? null }));
    return [...crowded, ...closed];
  }

  /** No pattern is left: nothing is closed for lack of room any more. */
  forget(): void {
    const crowded = this.#crowded.crowded();
    if (crowded.length > 0) this.#crowded.deleteCrowded(crowded.map(({ cgroupId }) => cgroupId));
    for (const { parent, last } of this.#crowded.overflows()) this.#end(parent, last);
    for (const { cgroupId, isOverflown, isClosed } of this.names.newborns()) {
      if (isOverflown) this.#end(cgroupId, 0n);
      if (isClosed) this.#run(RELEASE, wordsOf(cgroupId));
    }
  }

  #childrenIn({ parent, first, last }: Overflow): readonly { readonly name: string; readonly cgroupId: bigint }[] {
    const path = this.#pathOf(parent);
    if (path === null || path === "") return [];
    return childrenOf(path).flatMap((name) => {
      const cgroupId = findCgroup(this.parts.native, join(path, name));
      return typeof cgroupId === "bigint" && cgroupId >= first && cgroupId <= last ? [{ name, cgroupId }] : [];
    });
  }

  #pathOf(cgroupId: bigint): string | null {
    const { native, cgroupRoot } = this.parts;
    return kernel("Looking up a cgroup", () => native.cgroupById(cgroupRoot.path, cgroupId));
  }

  /** From now on it is closed by itself, and not by the range. */
  #close(cgroupId: bigint, name: string): void {
    const container = containerIn(name);
    if (container !== null) this.#crowded.noteContainer(cgroupId, container);
    const known = Buffer.alloc(KNOWN.size);
    known.writeBigUInt64LE(cgroupId, KNOWN.cgroup);
    known.writeUInt32LE(ABI.NODE_NONE, KNOWN.node);
    known.writeUInt32LE(ABI.CLOSED, KNOWN.flags);
    this.#run(KNOW, known);
  }

  #end(parent: bigint, last: bigint): void {
    const ended = Buffer.alloc(ENDED.size);
    ended.writeBigUInt64LE(parent, ENDED.cgroup);
    ended.writeBigUInt64LE(last, ENDED.last);
    this.#run(END_OVERFLOW, ended);
  }

  #run(program: string, record: Buffer): void {
    const { native, object } = this.parts;
    kernel(`Running ${program}`, () => native.runEach(programOf(object, program), record, record.length));
  }
}

/** Returns the ID of a container in the name of a cgroup, as find_container() of native/bpf/pattern.h. */
function containerIn(name: string): string | null {
  if (name.includes("conmon")) return null;
  return name.split(/[^0-9a-f]/).findLast((run) => run.length === ABI.CONTAINER_DIGITS) ?? null;
}

/** Returns whether something other than the range decides about a cgroup. */
function isKnown(newborn: Newborn | undefined): boolean {
  return newborn !== undefined && (newborn.owner !== 0 || newborn.isReleased || newborn.isClosed);
}

function childrenOf(path: string): readonly string[] {
  try {
    return readdirSync(path, { withFileTypes: true }).flatMap((one) => (one.isDirectory() ? [one.name] : []));
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENODEV")) return [];
    throw error;
  }
}

function wordsOf(cgroupId: bigint): Buffer {
  const record = Buffer.alloc(8);
  record.writeBigUInt64LE(cgroupId);
  return record;
}
