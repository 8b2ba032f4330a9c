/**
 * Subjects: the workloads of an image on this machine: the state of their cgroups, and the steps that bring them under
 * enforcement or release them.
 *
 * Guarantees: a cgroup's storage is written before its packet programs are attached; a half of the storage that is in
 * force is never changed; a workload is released only after the switch; a cgroup that passes from one workload to
 * another never loses its programs.
 */
import type { Ruleset } from "../../../model/ruleset.js";
import type { EnforcementItem } from "../../../interfaces/enforcer.js";
import { RemovedCgroups } from "./cgroups.js";
import type { Image, ImageSubject } from "../lower/image.js";
import { addItem, ATTACHED, leftoverItem, linkItem, subjectItem, subjectValue } from "../items.js";
import { HOOKS } from "../kernel/programs.js";
import type { Links } from "./links.js";
import type { Newborns } from "./newborns.js";
import { isGone, locate, type CgroupRoot, type Located, type Present } from "./locate.js";
import { OPEN_RECORD } from "../lower/image.js";
import type { Native } from "../kernel/native.js";
import { cgroupPath } from "../kernel/paths.js";
import { isHook, type Link } from "./pins.js";
import { NO_SLOT, type SlotShare, type SlotShares } from "../maps/slot-shares.js";
import {
  isLearning,
  readStorage,
  sameStorage,
  withSet,
  writeStorage,
  writeStorageIfAny,
  type CgroupStorage,
} from "../maps/cgroup-storage.js";
import type { SetIndex } from "../maps/table-sets.js";

function shareOf(shares: SlotShares, { id }: ImageSubject): SlotShare {
  return shares.get(id) ?? NO_SLOT;
}

function isHost({ subject }: ImageSubject): boolean {
  return subject.isHost === true;
}

/** Every pin of every workload. */
export type Pinned = ReadonlyMap<string, readonly Link[]>;

/** The present state beside the pins. */
interface Standing {
  readonly image: Image;
  readonly pinned: Pinned;
  readonly present: ReadonlyMap<string, Present>;
  /** Cgroups that a subject has now. */
  readonly places: ReadonlySet<bigint>;
  /** Cgroups that a subject had at its path, and that were removed while sockets in them live. */
  readonly removed: ReadonlySet<bigint>;
}

export class Subjects {
  readonly #native: Native;
  readonly #links: Links;
  readonly #newborns: Newborns;
  readonly #storageFd: number;
  readonly #cgroupRoot: CgroupRoot;
  readonly #removed: RemovedCgroups;

  constructor(native: Native, links: Links, newborns: Newborns, storageFd: number, cgroupRoot: CgroupRoot) {
    this.#native = native;
    this.#links = links;
    this.#newborns = newborns;
    this.#storageFd = storageFd;
    this.#cgroupRoot = cgroupRoot;
    this.#removed = new RemovedCgroups(native, cgroupRoot.path);
  }

  /** Returns the paths of the subjects' cgroups, existing or not. */
  paths(ruleset: Ruleset): readonly string[] {
    return ruleset.subjects.flatMap(({ cgroup }) =>
      cgroup === null ? [] : [cgroupPath(this.#cgroupRoot.path, cgroup)],
    );
  }

  locate(ruleset: Ruleset, image: Image): Located {
    return locate(this.#native, this.#cgroupRoot, ruleset, image);
  }

  #look(image: Image, located: Located, pinned: Pinned = this.#links.list()): Standing {
    const present = new Map(located.present.map((one) => [one.workload, one]));
    const places = new Set(located.present.map(({ cgroupId }) => cgroupId));
    const elsewhere = [...present.keys()]
      .flatMap((workload) => pinned.get(workload) ?? [])
      .flatMap(({ cgroupId }) => (cgroupId === 0n || places.has(cgroupId) ? [] : [cgroupId]));
    return { image, pinned, present, places, removed: this.#removed.among(new Set(elsewhere)) };
  }

  /** Adds the subjects and links in the kernel as items. */
  observe(
    items: Map<string, EnforcementItem>,
    image: Image,
    located: Located,
    active: SetIndex,
    shares: SlotShares,
  ): void {
    const standing = this.#look(image, located);
    const covered = new Set<bigint>();
    for (const one of located.present) {
      const storage = readStorage(this.#native, this.#storageFd, one.cgroupId);
      if (storage !== null && storage.subject !== 0) {
        // The division of flow slots is not part of policy: a share may still be that of the previous ruleset.
        const isRight =
          storage.cgroup === one.cgroupId &&
          storage.level === one.level &&
          storage.areRolesKnown &&
          storage.isHost === isHost(one) &&
          (isHost(one) || (this.#newborns.isOwner(one.cgroupId, one.id) && this.#newborns.isCovered(one.cgroupId))) &&
          storage.share.slot === shareOf(shares, one).slot;
        const value = subjectValue(storage.subject, storage.sets[active]) + (isRight ? "" : " misplaced");
        addItem(items, subjectItem(one.workload, value, one.subject));
      }
      const links = standing.pinned.get(one.workload) ?? [];
      const states = HOOKS.map((hook) => ({ hook, state: this.#links.state(links, hook, one.cgroupId) }));
      for (const { hook, state } of states) {
        if (state === "absent") continue;
        addItem(items, linkItem(one.workload, hook, state === "stale" ? "another program" : ATTACHED, one.subject));
      }
      if (states.every(({ state }) => state !== "absent")) covered.add(one.cgroupId);
    }
    for (const [workload, links] of standing.pinned) {
      for (const link of links) {
        const inPlace = image.subjects.has(workload) && isHook(link.pin);
        if (inPlace || link.cgroupId === 0n || this.#isNeeded(standing, covered, link)) continue;
        addItem(items, leftoverItem(workload, link.pin, link.hook));
      }
    }
  }

  /**
   * Returns whether an attachment must stay though its cgroup is not the workload's present one: either the cgroup's
   * new owner has no programs on it yet, or it still belongs to the workload, whose sockets outlive the folder's name.
   */
  #isNeeded(standing: Standing, covered: ReadonlySet<bigint>, { workload, cgroupId }: Link): boolean {
    if (cgroupId === 0n) return false;
    if (standing.places.has(cgroupId)) return !covered.has(cgroupId);
    return this.#isStillOf(standing, workload, cgroupId);
  }

  /** Returns whether a cgroup that no subject has now still belongs to the workload. */
  #isStillOf({ image, present, removed }: Standing, workload: string, cgroupId: bigint): boolean {
    return image.subjects.has(workload) && (!present.has(workload) || removed.has(cgroupId));
  }

  /**
   * Before the switch: writes the idle half of every enforced cgroup, including those to be released.
   * @returns the pins
   */
  prepare(image: Image, located: Located, idle: SetIndex, shares: SlotShares): Pinned {
    const learning: Present[] = [];
    for (const one of located.present) {
      const held = readStorage(this.#native, this.#storageFd, one.cgroupId);
      // A subject of 0: nothing is enforced there yet, or the storage was wiped and denies; `enforce` writes all of it.
      if (held === null || held.subject === 0) continue;
      // A workload that learns beside another version counts nothing until it is in force.
      const share = isLearning(held) ? held.share : shareOf(shares, one);
      if (isLearning(held)) learning.push(one);
      // Another subject comes with the whole record, after the switch: neither ruleset knows the addresses of the other's.
      const isSame = held.subject === one.id;
      const record = isSame ? one.record : { ...one.record, hasOwnSources: false };
      const next = { ...withSet(held, idle, record), cgroup: one.cgroupId, level: one.level, share, born: one.born };
      if (!sameStorage(held, next)) writeStorageIfAny(this.#native, this.#storageFd, one.cgroupId, next);
    }
    const standing = this.#look(image, located);
    // The host's policy is in force with the switch, and must not decide for these.
    for (const one of learning) {
      const links = standing.pinned.get(one.workload) ?? [];
      const isAttached = HOOKS.every((hook) => this.#links.state(links, hook, one.cgroupId) !== "absent");
      if (isAttached && !isHost(one)) this.#newborns.cover(one.cgroupId);
    }
    for (const [workload, links] of standing.pinned) {
      for (const cgroupId of new Set(links.map((link) => link.cgroupId))) {
        if (cgroupId === 0n || standing.places.has(cgroupId)) continue;
        const subject = this.#isStillOf(standing, workload, cgroupId) ? image.subjects.get(workload) : undefined;
        this.#writeIdle(cgroupId, idle, subject, shares);
        // Before the switch: the host's policy must hold at the first packet that the workload's lets pass.
        if (subject === undefined) this.#newborns.uncover(cgroupId);
      }
    }
    return standing.pinned;
  }

  #writeIdle(cgroupId: bigint, idle: SetIndex, subject: ImageSubject | undefined, shares: SlotShares): void {
    const held = readStorage(this.#native, this.#storageFd, cgroupId);
    if (held === null || held.subject === 0) return;
    // A released workload gives up its counters: the slot may belong to another before the last packet.
    const next = {
      ...withSet(held, idle, subject?.record ?? OPEN_RECORD),
      // Until it is a workload's cgroup again, its connections get no roles.
      areRolesKnown: subject !== undefined && held.areRolesKnown,
      share: subject === undefined ? NO_SLOT : shareOf(shares, subject),
    };
    if (!sameStorage(held, next)) writeStorageIfAny(this.#native, this.#storageFd, cgroupId, next);
  }

  /**
   * After the switch: attaches missing programs, replaces stale ones, and then detaches the programs of former
   * subjects. A failure at one workload does not stop the others; at a cgroup that is gone meanwhile it is none.
   * @param pinned the present pins
   */
  enforce(image: Image, located: Located, active: SetIndex, shares: SlotShares, pinned: Pinned): readonly unknown[] {
    const failures: unknown[] = [];
    const attempt = (act: () => void): void => {
      try {
        act();
      } catch (error) {
        failures.push(error);
      }
    };
    // For each workload: whether pins changed; null if it failed, and may have changed some.
    const changes = new Map<Present, boolean | null>();
    for (const one of located.present) {
      changes.set(one, null);
      attempt(() => {
        try {
          changes.set(one, this.#place(one, pinned.get(one.workload) ?? [], active, shareOf(shares, one)));
        } catch (error) {
          // If another cgroup has the path, it is a newborn until the next apply.
          if (!isGone(this.#native, one)) throw error;
        }
      });
    }
    const placed = located.present.filter((one) => changes.get(one) !== null);
    const isAsBefore = [...changes.values()].every((changed) => changed === false);
    const covered = new Set(placed.map(({ cgroupId }) => cgroupId));
    const standing = this.#look(image, located, isAsBefore ? pinned : this.#links.list());
    for (const [workload, links] of standing.pinned) {
      const own = standing.present.get(workload)?.cgroupId ?? 0n;
      const cgroupId = covered.has(own) ? own : null;
      attempt(() => this.#links.settle(workload, cgroupId, links, (link) => this.#isNeeded(standing, covered, link)));
      for (const former of new Set(links.map((link) => link.cgroupId)))
        if (former !== 0n && !standing.places.has(former) && !this.#isStillOf(standing, workload, former))
          attempt(() => this.#newborns.disown(former));
    }
    return failures;
  }

  #place(one: Present, links: readonly Link[], active: SetIndex, share: SlotShare): boolean {
    // The first connect program makes the kernel create the storage; it decides nothing until that is written.
    const [first, ...rest] = HOOKS;
    let isChanged = first !== undefined && this.#links.place(one, first, links);
    const held = readStorage(this.#native, this.#storageFd, one.cgroupId);
    const isWaiting = this.#newborns.isWaiting(one.cgroupId);
    const wanted: CgroupStorage = {
      cgroup: one.cgroupId,
      subject: one.id,
      level: one.level,
      share,
      // Every connection of a cgroup that was enforced from its birth has a role.
      areRolesKnown: isWaiting || held?.areRolesKnown === true,
      isShared: false,
      born: one.born,
      isHost: isHost(one),
      sets: [one.record, one.record],
    };
    const holds = held !== null && sameStorage(held, { ...wanted, sets: withSet(held, active, one.record).sets });
    if (!holds) writeStorage(this.#native, this.#storageFd, one.cgroupId, wanted);
    if (!isHost(one)) this.#newborns.own(one);
    for (const hook of rest) if (this.#links.place(one, hook, links)) isChanged = true;
    if (!isHost(one)) this.#newborns.cover(one.cgroupId);
    if (isWaiting) this.#newborns.adopt(one.cgroupId);
    return isChanged;
  }

  /**
   * After `enforce`: gives the connections that are older than the programs a role. From then on, a connection without
   * one is refused.
   */
  async learnRoles(located: Located): Promise<void> {
    const learning = located.present.filter(({ cgroupId }) => {
      const storage = readStorage(this.#native, this.#storageFd, cgroupId);
      return storage !== null && storage.subject !== 0 && !storage.areRolesKnown;
    });
    if (learning.length === 0) return;
    await this.#newborns.learn(learning);
    for (const { cgroupId } of learning) {
      const storage = readStorage(this.#native, this.#storageFd, cgroupId);
      if (storage === null) continue;
      const known = { ...storage, areRolesKnown: true };
      if (writeStorageIfAny(this.#native, this.#storageFd, cgroupId, known)) this.#newborns.adopt(cgroupId);
    }
  }

  /** Unpins links whose cgroup is gone, which attach nothing any more. */
  forgetGone(): void {
    this.#links.forgetGone();
  }
}
