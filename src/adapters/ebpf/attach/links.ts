/**
 * Links: attach the programs of this build to a workload's cgroup, and detach them from another.
 *
 * In two phases, so that a cgroup may pass from one workload to another: `place` attaches missing programs beside the
 * existing ones; `settle` then puts them in force and detaches those that are no longer needed. If the agent is killed
 * between any two steps, everything attached so far stays attached, and the next run continues.
 */
import { existsSync, renameSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import { EnforcerError } from "../../../interfaces/enforcer.js";
import { makeFolder } from "../../system/folder.js";
import { HOOKS } from "../kernel/programs.js";
import { kernel, type Hook, type LoadedObject, type Native } from "../kernel/native.js";
import { isHook, linkFolder, listLinks, listPins, nextPin, oldPin, removePins, withPin, type Link } from "./pins.js";

/** The state of one pin at a hook of a cgroup. `stale`: attached, with another program over the same maps. */
export type LinkState = "attached" | "stale" | "absent";

/** The cgroup of a workload. */
export interface Place {
  readonly workload: string;
  readonly path: string;
  readonly cgroupId: bigint;
}

export class Links {
  readonly #native: Native;
  readonly #object: LoadedObject;
  readonly #folder: string;
  /** Tags of this build's programs, by hook. */
  readonly #tags: ReadonlyMap<string, string>;
  /**
   * Ids of this build's programs as loaded here, by hook: an attached program with such an id needs no further check.
   */
  readonly #ids: ReadonlyMap<string, number>;
  /** The ids of our maps: a program that uses another map reads tables that are no longer updated. */
  readonly #mapIds: ReadonlySet<number>;

  constructor(native: Native, object: LoadedObject, folder: string) {
    this.#native = native;
    this.#object = object;
    this.#folder = folder;
    const programs = HOOKS.map((hook) => [hook, native.programInfo(this.#program(hook))] as const);
    this.#tags = new Map(programs.map(([hook, { tag }]) => [hook, tag]));
    this.#ids = new Map(programs.map(([hook, { id }]) => [hook, id]));
    this.#mapIds = new Set(Object.values(object.maps).map((fd) => native.mapInfo(fd).id));
  }

  /** Returns every pin of every workload. */
  list(): ReadonlyMap<string, readonly Link[]> {
    return listLinks(this.#native, this.#folder);
  }

  /** Returns how the hook is attached to the cgroup for the workload, by the pin in force or by the waiting one. */
  state(links: readonly Link[], hook: Hook, cgroupId: bigint): LinkState {
    const states = links
      .filter(({ pin }) => pin === hook || pin === nextPin(hook))
      .map((link) => this.#stateOf(link, hook, cgroupId));
    return states.find((state) => state !== "absent") ?? "absent";
  }

  #stateOf(link: Link, hook: Hook, cgroupId: bigint): LinkState {
    if (link.cgroupId !== cgroupId || link.hook !== hook) return "absent";
    if (link.programId === this.#ids.get(hook)) return "attached";
    const fd = kernel("Reading a link's program", () => this.#native.programById(link.programId));
    try {
      const program = this.#native.programInfo(fd);
      if (!program.mapIds.every((id) => this.#mapIds.has(id))) return "absent";
      return program.tag === this.#tags.get(hook) ? "attached" : "stale";
    } finally {
      this.#native.closeFd(fd);
    }
  }

  /**
   * Phase one: attaches this build's program for the hook to the cgroup. Nothing is detached from any cgroup.
   * @returns whether the pins changed
   * @throws EnforcerError, also if the cgroup is gone: see `isGone`
   */
  place({ workload, path, cgroupId }: Place, hook: Hook, links: readonly Link[]): boolean {
    const folder = linkFolder(this.#folder, workload);
    const own = links.filter(({ pin }) => pin === hook || pin === nextPin(hook));
    for (const link of own) {
      const state = this.#stateOf(link, hook, cgroupId);
      if (state === "absent") continue;
      if (state === "stale") {
        kernel(`Replacing the ${hook} program of ${workload}`, () =>
          withPin(this.#native, join(folder, link.pin), (fd) => this.#native.linkUpdate(fd, this.#program(hook))),
        );
      }
      return state === "stale";
    }
    makeFolder(folder);
    const next = own.find(({ pin }) => pin !== hook);
    if (next !== undefined) this.#park(folder, next);
    const doing = `Attaching the ${hook} program to the cgroup ${path} of ${workload}`;
    const fd = kernel(doing, () => this.#native.linkCreate(this.#program(hook), path, hook));
    try {
      // The path may have another cgroup by now, for which no record was written. Without a pin it is detached at once.
      if (kernel(doing, () => this.#native.linkInfo(fd)).cgroupId !== cgroupId)
        throw new EnforcerError("kernel", `${doing}: the cgroup was removed meanwhile`);
      kernel(doing, () => this.#native.pin(fd, join(folder, nextPin(hook))));
    } finally {
      this.#native.closeFd(fd);
    }
    return true;
  }

  /**
   * Phase two, for one workload, after phase one for all workloads.
   * @param cgroupId the workload's cgroup if all hooks were placed on it, else null
   * @param links the workload's pins as they are now
   * @param isNeeded whether an attachment must stay though it no longer belongs to the workload
   */
  settle(workload: string, cgroupId: bigint | null, links: readonly Link[], isNeeded: (link: Link) => boolean): void {
    const folder = linkFolder(this.#folder, workload);
    const waiting = cgroupId === null ? [] : HOOKS.filter((hook) => this.#waits(links, hook, cgroupId));
    for (const hook of waiting) {
      const current = links.find(({ pin }) => pin === hook);
      if (current !== undefined) this.#park(folder, current);
      renameSync(join(folder, nextPin(hook)), join(folder, hook));
    }
    const pinned = waiting.length === 0 ? links : listPins(this.#native, folder, workload);
    const inForce = (pin: string): boolean => cgroupId !== null && isHook(pin);
    const rest = pinned.filter((link) => !inForce(link.pin) && !isNeeded(link));
    removePins(this.#native, folder, rest);
    if (rest.length === pinned.length && existsSync(folder)) rmdirSync(folder);
  }

  /** Returns whether the waiting pin has the hook attached, and not the one in force. */
  #waits(links: readonly Link[], hook: Hook, cgroupId: bigint): boolean {
    const stateOf = (pin: string): LinkState => {
      const link = links.find((one) => one.pin === pin);
      return link === undefined ? "absent" : this.#stateOf(link, hook, cgroupId);
    };
    return stateOf(nextPin(hook)) === "attached" && stateOf(hook) !== "attached";
  }

  #park(folder: string, link: Link): void {
    renameSync(join(folder, link.pin), join(folder, oldPin(link)));
  }

  /** Unpins links whose cgroup is gone: they are attached to nothing. */
  forgetGone(): void {
    for (const [workload, links] of this.list()) {
      const gone = links.filter(({ pin, cgroupId }) => !isHook(pin) && cgroupId === 0n);
      removePins(this.#native, linkFolder(this.#folder, workload), gone);
    }
  }

  #program(hook: Hook): number {
    const fd = this.#object.programs[`ztap_${hook}`];
    if (fd === undefined) throw new TypeError(`no program for ${hook}`);
    return fd;
  }
}
