/**
 * Links: the attachments of this node's programs, and their pins `<links>/<workload>/<hook>`.
 *
 * A pin is replaced by renaming over it, so at each moment a hook that was attached stays attached.
 */
import { mkdirSync, readdirSync, renameSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { HOOKS } from "./items.js";
import { kernel, type Hook, type LinkInfo, type LoadedObject, type Native } from "./native.js";
import { pinName, unpinName } from "./paths.js";

export interface Link extends LinkInfo {
  readonly workload: string;
  /** The name of the pin: a Hook, or something that does not belong here. */
  readonly pin: string;
}

/** How a hook of a workload stands. `stale`: attached, with another program over the same maps. */
export type LinkState = "attached" | "stale" | "absent";

const REPLACEMENT = "next-";

export class Links {
  readonly #native: Native;
  readonly #object: LoadedObject;
  readonly #folder: string;
  /** What a program of this build looks like, by hook. */
  readonly #tags: ReadonlyMap<string, string>;
  /** The ids of our maps: a program that uses another reads a world that nobody keeps any more. */
  readonly #mapIds: ReadonlySet<number>;

  constructor(native: Native, object: LoadedObject, folder: string) {
    this.#native = native;
    this.#object = object;
    this.#folder = folder;
    this.#tags = new Map(HOOKS.map((hook) => [hook, native.programInfo(this.#program(hook)).tag]));
    this.#mapIds = new Set(Object.values(object.maps).map((fd) => native.mapInfo(fd).id));
  }

  /** Every pin of every workload. */
  list(): ReadonlyMap<string, readonly Link[]> {
    return listLinks(this.#native, this.#folder);
  }

  /** How one hook stands on the cgroup. */
  state(links: readonly Link[], hook: Hook, cgroupId: bigint): LinkState {
    const link = links.find((one) => one.pin === hook);
    if (link === undefined || link.cgroupId !== cgroupId || link.hook !== hook) return "absent";
    return this.#programState(link.programId, hook);
  }

  #programState(programId: number, hook: Hook): LinkState {
    const fd = kernel("Looking at a link's program", () => this.#native.programById(programId));
    try {
      const program = this.#native.programInfo(fd);
      if (!program.mapIds.every((id) => this.#mapIds.has(id))) return "absent";
      return program.tag === this.#tags.get(hook) ? "attached" : "stale";
    } finally {
      this.#native.closeFd(fd);
    }
  }

  /** Brings one hook to `attached`. A new attachment is made beside what is there, which goes afterwards. */
  attach(workload: string, hook: Hook, cgroupPath: string, state: LinkState): void {
    const folder = join(this.#folder, pinName(workload));
    const pin = join(folder, hook);
    if (state === "stale") {
      this.#withPin(pin, (fd) =>
        kernel(`Replacing the ${hook} program of ${workload}`, () => this.#native.linkUpdate(fd, this.#program(hook))),
      );
      return;
    }
    mkdirSync(folder, { recursive: true });
    const next = join(folder, REPLACEMENT + hook);
    rmSync(next, { force: true });
    const doing = `Attaching the ${hook} program to the cgroup ${cgroupPath} of ${workload}`;
    const fd = kernel(doing, () => this.#native.linkCreate(this.#program(hook), cgroupPath, hook));
    try {
      kernel(doing, () => this.#native.pin(fd, next));
      renameSync(next, pin);
    } finally {
      this.#native.closeFd(fd);
    }
  }

  /** Detaches and unpins all of a workload: the packet programs last-attached, first-detached. */
  release(workload: string): void {
    removeLinks(this.#native, join(this.#folder, pinName(workload)));
  }

  /** Removes pins that are no hook of ours: what a crash in `attach` left. */
  tidy(workload: string, links: readonly Link[]): void {
    for (const link of links) {
      if (!HOOKS.some((hook) => hook === link.pin))
        rmSync(join(this.#folder, pinName(workload), link.pin), { force: true });
    }
  }

  #program(hook: Hook): number {
    const fd = this.#object.programs[`ztap_${hook}`];
    if (fd === undefined) throw new TypeError(`no program for ${hook}`);
    return fd;
  }

  #withPin(pin: string, act: (fd: number) => void): void {
    const fd = kernel(`Opening ${pin}`, () => this.#native.openPin(pin));
    try {
      act(fd);
    } finally {
      this.#native.closeFd(fd);
    }
  }
}

/** Reads the pins below a node's link folder. Needs no loaded object. */
export function listLinks(native: Native, folder: string): ReadonlyMap<string, readonly Link[]> {
  const found = new Map<string, readonly Link[]>();
  for (const name of entriesOf(folder)) {
    const workload = unpinName(name);
    const links: Link[] = [];
    for (const pin of entriesOf(join(folder, name))) {
      const fd = kernel(`Opening the pin ${pin} of ${workload}`, () => native.openPin(join(folder, name, pin)));
      if (fd < 0) continue;
      try {
        links.push({ ...kernel("Looking at a link", () => native.linkInfo(fd)), workload, pin });
      } finally {
        native.closeFd(fd);
      }
    }
    found.set(workload, links);
  }
  return found;
}

/** Detaches and unpins every link in a workload's folder, and removes the folder. */
export function removeLinks(native: Native, folder: string): void {
  const inOrder = entriesOf(folder).sort((a, b) => rank(b) - rank(a));
  for (const pin of inOrder) {
    const fd = kernel(`Opening ${pin}`, () => native.openPin(join(folder, pin)));
    if (fd >= 0) {
      try {
        // A link whose cgroup is gone is detached already.
        if (native.linkInfo(fd).cgroupId !== 0n) kernel(`Detaching ${pin}`, () => native.linkDetach(fd));
      } finally {
        native.closeFd(fd);
      }
    }
    rmSync(join(folder, pin), { force: true });
  }
  rmdirSync(folder);
}

function rank(pin: string): number {
  return HOOKS.findIndex((hook) => hook === pin);
}

export function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
