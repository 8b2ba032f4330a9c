/**
 * Subjects: the workloads of an image on this machine: which cgroup each has now, what that cgroup
 * carries, and the steps that bring it under enforcement or release it.
 *
 * Guarantees: a cgroup's storage is written before its packet programs are attached; a half of the
 * storage that is in force is never changed; a workload is released only after the switch.
 */
import type { SubjectStatus } from "../../model/status.js";
import type { Ruleset } from "../../model/ruleset.js";
import { EnforcerError, type EnforcementItem } from "../../ports/enforcer.js";
import type { Image, ImageSubject } from "./image.js";
import { addItem, ATTACHED, HOOKS, linkItem, subjectItem, subjectValue } from "./items.js";
import type { Link, Links } from "./links.js";
import { kernel, type Native } from "./native.js";
import { OPEN_RECORD } from "./lower.js";
import { cgroupLevel, cgroupPath } from "./paths.js";
import { readStorage, sameRecord, withSet, writeStorage, type Storage } from "./storage.js";
import type { SetIndex } from "./tables.js";

/** A subject whose cgroup exists. */
interface Present extends ImageSubject {
  readonly workload: string;
  readonly path: string;
  readonly cgroupId: bigint;
  readonly level: number;
}

export interface Located {
  readonly present: readonly Present[];
  readonly statuses: readonly SubjectStatus[];
}

export class Subjects {
  readonly #native: Native;
  readonly #links: Links;
  readonly #storageFd: number;
  readonly #cgroupRoot: string;

  constructor(native: Native, links: Links, storageFd: number, cgroupRoot: string) {
    this.#native = native;
    this.#links = links;
    this.#storageFd = storageFd;
    this.#cgroupRoot = cgroupRoot;
  }

  /** Where the subjects' cgroups are, or will be. */
  paths(ruleset: Ruleset): readonly string[] {
    return ruleset.subjects.flatMap(({ cgroup }) => (cgroup === null ? [] : [cgroupPath(this.#cgroupRoot, cgroup)]));
  }

  /** Finds each subject's cgroup as it is now. */
  locate(ruleset: Ruleset, image: Image): Located {
    const present: Present[] = [];
    const statuses: SubjectStatus[] = [];
    const owners = new Map<bigint, string>();
    for (const { workload, cgroup } of ruleset.subjects) {
      const subject = image.subjects.get(workload);
      if (cgroup === null || subject === undefined) {
        statuses.push({ workload, state: "Stalled", message: "it has no cgroup, which eBPF enforcement needs" });
        continue;
      }
      const path = cgroupPath(this.#cgroupRoot, cgroup);
      const cgroupId = this.#find(path);
      if (typeof cgroupId === "string") {
        statuses.push({ workload, state: "Stalled", message: cgroupId });
        continue;
      }
      if (cgroupId === null) {
        statuses.push({ workload, state: "Pending", message: `its cgroup ${path} does not exist yet` });
        continue;
      }
      const owner = owners.get(cgroupId);
      if (owner !== undefined) {
        statuses.push({ workload, state: "Stalled", message: `its cgroup ${path} already belongs to ${owner}` });
        continue;
      }
      owners.set(cgroupId, workload);
      present.push({ ...subject, workload, path, cgroupId, level: cgroupLevel(cgroup) });
      statuses.push({ workload, state: "Enforced" });
    }
    return { present, statuses };
  }

  /** The cgroup's id, null where there is none, or why it cannot be looked at: one path that lies costs no other workload. */
  #find(path: string): bigint | string | null {
    try {
      return kernel("Looking for the cgroup", () => this.#native.cgroupId(path));
    } catch (error) {
      if (!(error instanceof EnforcerError)) throw error;
      return error.message;
    }
  }

  /** What the kernel holds of subjects and links, as items. */
  observe(items: Map<string, EnforcementItem>, image: Image, located: Located, active: SetIndex): void {
    const pinned = this.#links.list();
    for (const one of located.present) {
      const storage = readStorage(this.#native, this.#storageFd, one.cgroupId);
      if (storage !== null && storage.subject !== 0) {
        const misplaced = storage.cgroup !== one.cgroupId || storage.level !== one.level ? " misplaced" : "";
        const value = subjectValue(storage.subject, storage.sets[active]) + misplaced;
        addItem(items, subjectItem(one.workload, value, one.subject));
      }
      const links = pinned.get(one.workload) ?? [];
      for (const hook of HOOKS) {
        const state = this.#links.state(links, hook, one.cgroupId);
        if (state === "absent") continue;
        addItem(items, linkItem(one.workload, hook, state === "stale" ? "another program" : ATTACHED, one.subject));
      }
    }
    for (const [workload, links] of pinned) {
      if (image.subjects.has(workload)) continue;
      for (const hook of HOOKS) {
        if (links.some((link) => link.pin === hook && link.cgroupId !== 0n))
          addItem(items, linkItem(workload, hook, ATTACHED));
      }
    }
  }

  /** Before the switch: writes the idle half of every cgroup that is enforced, also of those to be released. */
  prepare(image: Image, located: Located, idle: SetIndex): void {
    const wanted = new Map(located.present.map((one) => [one.cgroupId, one]));
    for (const one of located.present) {
      const held = readStorage(this.#native, this.#storageFd, one.cgroupId);
      // A subject of 0: nothing is enforced there yet, or the storage was wiped and refuses; `enforce` writes it whole.
      if (held === null || held.subject === 0) continue;
      const half = sameRecord(held.sets[idle], one.record) ? held : withSet(held, idle, one.record);
      const next = { ...half, cgroup: one.cgroupId, subject: one.id, level: one.level };
      if (!sameStorage(held, next)) writeStorage(this.#native, this.#storageFd, one.cgroupId, next);
    }
    for (const [workload, links] of this.#links.list()) {
      // A subject whose path is gone for now: what its cgroup was last told stays, in both halves.
      if (image.subjects.has(workload) && !located.present.some((one) => one.workload === workload)) {
        this.#keep(links, idle);
        continue;
      }
      for (const cgroupId of new Set(links.map((link) => link.cgroupId))) {
        if (cgroupId === 0n || wanted.has(cgroupId)) continue;
        const held = readStorage(this.#native, this.#storageFd, cgroupId);
        if (held === null || held.subject === 0 || sameRecord(held.sets[idle], OPEN_RECORD)) continue;
        writeStorage(this.#native, this.#storageFd, cgroupId, withSet(held, idle, OPEN_RECORD));
      }
    }
  }

  /** Copies the record in force to the idle half; its classes may be gone, and what finds none is refused. */
  #keep(links: readonly Link[], idle: SetIndex): void {
    for (const cgroupId of new Set(links.map((link) => link.cgroupId))) {
      const held = cgroupId === 0n ? null : readStorage(this.#native, this.#storageFd, cgroupId);
      if (held === null || held.subject === 0) continue;
      writeStorage(this.#native, this.#storageFd, cgroupId, withSet(held, idle, held.sets[idle === 0 ? 1 : 0]));
    }
  }

  /** After the switch: attaches what is missing, replaces what is stale. One workload's failure does not stop the others. */
  enforce(located: Located, active: SetIndex): readonly unknown[] {
    const pinned = this.#links.list();
    const failures: unknown[] = [];
    for (const one of located.present) {
      try {
        this.#enforceOne(one, pinned.get(one.workload) ?? [], active);
      } catch (error) {
        failures.push(error);
      }
    }
    return failures;
  }

  #enforceOne(one: Present, links: readonly Link[], active: SetIndex): void {
    const states = HOOKS.map((hook) => ({ hook, state: this.#links.state(links, hook, one.cgroupId) }));
    const attach = ({ hook, state }: (typeof states)[number]): void => {
      if (state !== "attached") this.#links.attach(one.workload, hook, one.path, state);
    };
    // The first connect program makes the kernel create the storage; it decides nothing until that is written.
    const [first, ...rest] = states;
    if (first !== undefined) attach(first);
    const held = readStorage(this.#native, this.#storageFd, one.cgroupId);
    const wanted: Storage = { cgroup: one.cgroupId, subject: one.id, level: one.level, sets: [one.record, one.record] };
    const holds = held !== null && sameStorage(held, { ...wanted, sets: withSet(held, active, one.record).sets });
    if (!holds) writeStorage(this.#native, this.#storageFd, one.cgroupId, wanted);
    rest.forEach(attach);
    this.#links.tidy(one.workload, links);
  }

  /**
   * After the switch: takes the programs off what is no subject any more. A subject whose path is gone
   * keeps them while the kernel says that their cgroup lives: sockets outlast the folder's name.
   */
  release(image: Image, located: Located): void {
    const present = new Set(located.present.map((one) => one.workload));
    for (const [workload, links] of this.#links.list()) {
      const isSubject = image.subjects.has(workload);
      const isAlive = links.some((link) => link.cgroupId !== 0n);
      if (!isSubject || (!present.has(workload) && !isAlive)) this.#links.release(workload);
    }
  }
}

function sameStorage(a: Storage, b: Storage): boolean {
  return (
    a.cgroup === b.cgroup &&
    a.subject === b.subject &&
    a.level === b.level &&
    sameRecord(a.sets[0], b.sets[0]) &&
    sameRecord(a.sets[1], b.sets[1])
  );
}
