/**
 * Newborns: a workload's cgroup is enforced from its birth, whether or not an agent runs; see
 * docs/adr/0011-newborn-cgroups.md.
 *
 * A program at the tracepoint of mkdir gives a cgroup that has a workload's path the record that stands in `NewbornNames`,
 * and the guards at the cgroup root decide its packets by it, until the agent has attached the workload's own programs
 * and adopts the cgroup. All of them are pinned.
 */
import { join } from "node:path";
import type { EnforcementItem, WaitingCgroup } from "../../../interfaces/enforcer.js";
import { addItem, isEnforced, namedSubjects, newbornItem, subjectValue } from "../items.js";
import { ABI, ADOPTED, BIRTHS, KNOWN, PREPARED } from "../kernel/abi.generated.js";
import { mapOf, programOf, runIterator } from "../kernel/load.js";
import { asEnforcerError, kernel } from "../kernel/native.js";
import { cgroupLevel, cgroupParts } from "../kernel/paths.js";
import { ADOPT, KNOW, LEARN_FILES, LEARN_TCP, PREPARE } from "../kernel/programs.js";
import { allSubjects, OPEN_RECORD, type Image, type ImageSubject, type SubjectRecord } from "../lower/image.js";
import { encodeSubjectRecord, sameStorage, withSet, type CgroupStorage } from "../maps/cgroup-storage.js";
import { nameKey, NewbornNames, type Name } from "../maps/newborn-names.js";
import { NO_SLOT, type SlotShare, type SlotShares } from "../maps/slot-shares.js";
import type { SetIndex } from "../maps/table-sets.js";
import { BirthPrograms, type BirthParts } from "./birth-programs.js";
import { CrowdedBirths } from "./crowded-births.js";
import { findCgroup, type Present } from "./locate.js";
import { PatternBirths } from "./pattern-births.js";

/** A path of the tree: its node, the path above it, and the workload whose cgroup it is. */
interface Branch {
  readonly path: string;
  readonly key: string;
  readonly node: number;
  readonly workload: string | undefined;
  readonly subject: ImageSubject | undefined;
}

/** What the programs are told about a cgroup. */
interface Known {
  readonly cgroupId: bigint;
  readonly node?: number;
  readonly owner?: number;
  readonly level?: number;
  readonly flags?: number;
}

export class Newborns {
  readonly #parts: BirthParts;
  readonly #names: NewbornNames;
  readonly #programs: BirthPrograms;
  readonly #patterns: PatternBirths;
  readonly #crowded: CrowdedBirths;

  constructor(parts: BirthParts) {
    this.#parts = parts;
    const { native, object } = parts;
    this.#programs = new BirthPrograms(parts);
    this.#patterns = new PatternBirths(native, object);
    this.#names = new NewbornNames(native, {
      names: mapOf(object, "ztap_names"),
      newborns: mapOf(object, "ztap_newborns"),
      living: mapOf(object, "ztap_living"),
    });
    this.#crowded = new CrowdedBirths(parts, this.#names);
  }

  /**
   * Before the switch: writes the names of the image's workloads, and the half that is not in force of each record. Names
   * that are no longer wanted stay until `finish`.
   */
  prepare(image: Image, idle: SetIndex, shares: SlotShares): void {
    const held = this.#names.names();
    const branches = this.#branches(image, held);
    const wanted = new Map(branches.map((branch) => [branch.key, branch]));
    for (const branch of branches) {
      const before = held.get(branch.key);
      const record = nextRecord(branch.subject, before?.record ?? null, idle, shares);
      if (before === undefined || !sameName(before.record, record))
        this.#names.write({ key: branch.key, node: branch.node, record });
    }
    for (const name of held.values()) {
      if (wanted.has(name.key) || name.record === null) continue;
      this.#names.write({ ...name, record: nextRecord(undefined, name.record, idle, shares) });
    }
    this.#patterns.prepare(image, idle, shares, 1 + Math.max(this.#highestNode(held), ...branches.map(nodeOf)));
    if (isEnforced(image)) this.#programs.pin();
    const subjectOf = subjectFinder(image, branches);
    // After the names: a cgroup that was born meanwhile is among these, or has the new record.
    for (const { cgroupId, node, record } of this.#names.newborns()) {
      if (record === null) continue;
      const subject = subjectOf(node, record);
      const share = subject === undefined ? NO_SLOT : (shares.get(subject.id) ?? NO_SLOT);
      // Until it is adopted it keeps its subject, of whose addresses the next ruleset may know nothing.
      const next = subject?.record ?? OPEN_RECORD;
      const hasOwnSources = next.hasOwnSources && subject?.id === record.subject;
      this.#run(PREPARE, encodePrepared(cgroupId, idle, { ...next, hasOwnSources }, share));
    }
    // After the programs: a cgroup that was made meanwhile is known to them, or found here.
    this.#seed(branches);
  }

  /** After the switch: takes away the names and newborns of former workloads, and the programs after the last. */
  finish(image: Image): void {
    const held = this.#names.names();
    const branches = this.#branches(image, held);
    const wanted = new Map(branches.map((branch) => [branch.key, branch]));
    const subjectOf = subjectFinder(image, branches);
    // In this order: if the agent is killed between two steps, the next one finds what is left.
    for (const { cgroupId, node, record } of this.#names.newborns())
      if (record !== null && subjectOf(node, record) === undefined) this.adopt(cgroupId);
    for (const name of held.values()) {
      const branch = wanted.get(name.key);
      if (branch === undefined) this.#names.delete(name);
      else if (branch.subject === undefined && name.record !== null) this.#names.write({ ...name, record: null });
    }
    this.#patterns.finish(image);
    if (image.templates.size === 0) this.#crowded.forget();
    if (!isEnforced(image)) this.#programs.unpin();
  }

  /**
   * Returns the cgroups that were enforced from their birth by a pattern, or closed for lack of room, and that are not known as an
   * instance's yet.
   */
  waiting(): readonly WaitingCgroup[] {
    this.#crowded.identify();
    const containers = this.#patterns.containers();
    const closed = this.#patterns.nodeOfContainers();
    const newborns = this.#names.newborns();
    const recorded = newborns
      .filter(({ record }) => record?.isShared === true)
      .map(({ cgroupId, node }) => ({
        id: cgroupId,
        container: containers.get(cgroupId) ?? (node === closed ? "" : null),
      }));
    return [...recorded, ...this.#crowded.waiting(newborns, containers)];
  }

  /**
   * Opens those that are no workload's.
   * @param kept the paths of cgroups that are
   */
  release(cgroups: readonly WaitingCgroup[], kept: readonly string[]): void {
    if (cgroups.length === 0) return;
    const ids = new Set(kept.map((path) => this.#cgroupId(path)));
    for (const { id } of cgroups) if (!ids.has(id)) this.#patterns.release(id);
  }

  /** Returns whether the cgroup was enforced from its birth, and its record still decides. */
  isWaiting(cgroupId: bigint): boolean {
    const newborn = this.#names.newborn(cgroupId);
    return newborn !== null && newborn.record !== null;
  }

  /** The workload's own programs decide from now on. */
  adopt(cgroupId: bigint): void {
    const record = Buffer.alloc(ADOPTED.size);
    record.writeBigUInt64LE(cgroupId, ADOPTED.cgroup);
    this.#run(ADOPT, record);
  }

  /** Returns whether the guards know that the cgroup is the workload's. */
  isOwner(cgroupId: bigint, subject: number): boolean {
    return this.#names.newborn(cgroupId)?.owner === subject;
  }

  /** Lets the guards know whose cgroup it is. */
  own({ cgroupId, id, level }: Present): void {
    if (!this.isOwner(cgroupId, id)) this.#know({ cgroupId, owner: id, level });
  }

  /** The programs of the cgroup's workload are attached: the host's policy does not hold for it any more. */
  cover(cgroupId: bigint): void {
    if (this.#names.newborn(cgroupId)?.isCovered === false) this.#know({ cgroupId, flags: ABI.COVERED });
  }

  /** The cgroup's workload is to be released: from now on the host's policy holds for it as well. */
  uncover(cgroupId: bigint): void {
    if (this.#names.newborn(cgroupId)?.isCovered === true) this.#know({ cgroupId, flags: ABI.UNCOVER });
  }

  isCovered(cgroupId: bigint): boolean {
    return this.#names.newborn(cgroupId)?.isCovered === true;
  }

  /** The cgroup is no workload's any more. */
  disown(cgroupId: bigint): void {
    this.#know({ cgroupId, flags: ABI.DISOWN });
  }

  /**
   * Gives every TCP socket of these cgroups a role that has none: its connection is older than the programs. Those of the host are
   * all that no workload has.
   * @throws EnforcerError
   */
  async learn(places: readonly Present[]): Promise<void> {
    for (const { cgroupId, subject } of places)
      this.#know({ cgroupId, flags: subject.isHost === true ? ABI.LEARNS_REST : ABI.LEARNS });
    const { native, object } = this.#parts;
    // Twice: a connection of which only the handshake was there the first time has a socket now.
    for (const name of [LEARN_TCP, LEARN_FILES, LEARN_TCP])
      await runIterator(native, object, name, "Learning the connections of workloads");
  }

  /** Returns how many newborn cgroups found no room; they are closed until the agent attaches its programs. */
  dropped(): bigint {
    const { native, object } = this.#parts;
    const value = kernel("Counting newborn cgroups", () =>
      native.mapGet(mapOf(object, "ztap_births"), Buffer.alloc(4)),
    );
    return value?.readBigUInt64LE(BIRTHS.dropped) ?? 0n;
  }

  observe(items: Map<string, EnforcementItem>, image: Image, active: SetIndex, shares: SlotShares): void {
    this.#programs.observe(items);
    this.#patterns.observe(items, image, active, shares);
    const held = this.#names.names();
    for (const { key, path, workload, subject } of this.#branches(image, held)) {
      const record = held.get(key)?.record ?? null;
      if (workload === undefined || subject === undefined || record === null) continue;
      const isRight =
        record.areRolesKnown &&
        record.share.slot === (shares.get(subject.id) ?? NO_SLOT).slot &&
        this.#isKnown(path, held);
      const value = subjectValue(record.subject, record.sets[active]) + (isRight ? "" : " misplaced");
      addItem(items, newbornItem(workload, value, subject.subject));
    }
  }

  /** Returns whether the program at mkdir knows every existing cgroup above the path. */
  #isKnown(path: string, held: ReadonlyMap<string, Name>): boolean {
    let [node, above] = [ABI.NODE_ROOT as number, ""];
    for (const part of cgroupParts(path)) {
      const cgroupId = this.#cgroupId(above);
      if (cgroupId === null) return true;
      if (this.#names.newborn(cgroupId)?.node !== node) return false;
      node = held.get(nameKey(node, part))?.node ?? ABI.NODE_NONE;
      above = `${above}/${part}`;
    }
    return true;
  }

  /** Makes the existing cgroups of the workloads, and those above them, known to the programs. */
  #seed(branches: readonly Branch[]): void {
    const root = this.#cgroupId("");
    if (root !== null && this.#names.newborn(root)?.node !== ABI.NODE_ROOT)
      this.#know({ cgroupId: root, node: ABI.NODE_ROOT });
    for (const { path, node, subject } of branches) {
      const cgroupId = this.#cgroupId(path);
      if (cgroupId === null) continue;
      const owner = subject?.id ?? 0;
      const held = this.#names.newborn(cgroupId);
      if (held?.node !== node || (owner !== 0 && held.owner !== owner))
        this.#know({ cgroupId, node, owner, level: this.#parts.cgroupRoot.level + cgroupLevel(path) });
    }
  }

  #know({ cgroupId, node = ABI.NODE_NONE, owner = 0, level = 0, flags = 0 }: Known): void {
    const known = Buffer.alloc(KNOWN.size);
    known.writeBigUInt64LE(cgroupId, KNOWN.cgroup);
    known.writeUInt32LE(node, KNOWN.node);
    known.writeUInt32LE(owner, KNOWN.owner);
    known.writeUInt32LE(level, KNOWN.level);
    known.writeUInt32LE(flags, KNOWN.flags);
    this.#run(KNOW, known);
  }

  #cgroupId(path: string): bigint | null {
    const { native, cgroupRoot } = this.#parts;
    const found = findCgroup(native, join(cgroupRoot.path, path));
    return typeof found === "bigint" ? found : null;
  }

  #run(program: string, record: Buffer): void {
    const { native, object } = this.#parts;
    const failed = kernel(`Running ${program}`, () =>
      native.runEach(programOf(object, program), record, record.length),
    );
    if (failed > 0) throw asEnforcerError(`Running ${program}`, new Error("there is no room for more cgroups"));
  }

  /** Returns the paths of the image's workloads and those above them, with the nodes that they have or get. */
  #branches(image: Image, held: ReadonlyMap<string, Name>): readonly Branch[] {
    const branches = new Map<string, Branch>();
    let last: number | null = null;
    const next = (): number => (last = (last ?? this.#highestNode(held)) + 1);
    for (const [workload, subject] of namedSubjects(image)) {
      let [node, path] = [ABI.NODE_ROOT as number, ""];
      const parts = cgroupParts(subject.subject.cgroup ?? "");
      parts.forEach((part, at) => {
        const key = nameKey(node, part);
        path = `${path}/${part}`;
        const found = branches.get(key);
        node = found?.node ?? held.get(key)?.node ?? next();
        if (at === parts.length - 1) branches.set(key, { path, key, node, workload, subject });
        else if (found === undefined) branches.set(key, { path, key, node, workload: undefined, subject: undefined });
      });
    }
    return [...branches.values()];
  }

  /** Returns the highest node, also of names that are gone: living cgroups may still have it. */
  #highestNode(held: ReadonlyMap<string, Name>): number {
    const taken = [...[...held.values(), ...this.#names.newborns()].map(({ node }) => node), ...this.#patterns.nodes()];
    return taken.reduce<number>((highest, node) => (node === ABI.NODE_NONE ? highest : Math.max(highest, node)), 0);
  }
}

const nodeOf = ({ node }: Branch): number => node;

/**
 * Returns a function to the subject that decides about a newborn: that of its name, else the one that it was born under, also if
 * its name or pattern is gone.
 */
function subjectFinder(
  image: Image,
  branches: readonly Branch[],
): (node: number, record: CgroupStorage) => ImageSubject | undefined {
  const byNode = new Map(branches.map((branch) => [branch.node, branch.subject]));
  const byId = new Map([...allSubjects(image).values()].map((subject) => [subject.id, subject]));
  return (node, record) => byNode.get(node) ?? byId.get(record.subject);
}

/** Returns the record with the subject in its idle half; that of a former workload lets everything pass. */
function nextRecord(
  subject: ImageSubject | undefined,
  held: CgroupStorage | null,
  idle: SetIndex,
  shares: SlotShares,
): CgroupStorage | null {
  if (subject === undefined) return held === null ? null : { ...withSet(held, idle, OPEN_RECORD), share: NO_SLOT };
  const before: CgroupStorage = held ?? {
    cgroup: 0n,
    subject: subject.id,
    level: 0,
    share: NO_SLOT,
    areRolesKnown: true,
    isShared: false,
    born: 0,
    isHost: false,
    sets: [OPEN_RECORD, OPEN_RECORD],
  };
  // Of another subject than before: the ruleset in force knows nothing of its addresses.
  const [first, second] = before.sets;
  const isOther = before.subject !== subject.id;
  const free: CgroupStorage = isOther
    ? {
        ...before,
        sets: [
          { ...first, hasOwnSources: false },
          { ...second, hasOwnSources: false },
        ],
      }
    : before;
  return {
    ...withSet(free, idle, subject.record),
    subject: subject.id,
    level: cgroupLevel(subject.subject.cgroup ?? ""),
    areRolesKnown: true,
    share: shares.get(subject.id) ?? NO_SLOT,
  };
}

function sameName(a: CgroupStorage | null, b: CgroupStorage | null): boolean {
  return a === null || b === null ? a === b : sameStorage(a, b);
}

function encodePrepared(cgroupId: bigint, set: SetIndex, record: SubjectRecord, share: SlotShare): Buffer {
  const value = Buffer.alloc(PREPARED.size);
  value.writeBigUInt64LE(cgroupId, PREPARED.cgroup);
  value.writeUInt32LE(set, PREPARED.set);
  value.writeUInt32LE(share.slot, PREPARED.slot);
  value.writeUInt32LE(share.flowsFirst, PREPARED.flowsFirst);
  value.writeUInt32LE(share.flowsSize, PREPARED.flowsSize);
  encodeSubjectRecord(record).copy(value, PREPARED.subject);
  return value;
}
