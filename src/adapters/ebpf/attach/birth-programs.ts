/**
 * Birth programs: the pins of the programs that enforce newborn cgroups: the guards at the cgroup root, and those at the
 * tracepoints of cgroups. For a newborn, a guard calls the packet program of workloads, which stands in a map of its own.
 */
import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { EnforcementItem } from "../../../interfaces/enforcer.js";
import { makeFolder } from "../../system/folder.js";
import { addItem, ATTACHED, guardItem } from "../items.js";
import { mapOf, programOf } from "../kernel/load.js";
import { kernel, type LoadedObject, type Native } from "../kernel/native.js";
import { GUARDS, SECURITY, TRACEPOINTS } from "../kernel/programs.js";
import { withPin } from "./pins.js";

export interface BirthParts {
  readonly native: Native;
  readonly object: LoadedObject;
  /** Folder of the pins. */
  readonly folder: string;
  readonly cgroupRoot: string;
}

type Guard = (typeof GUARDS)[number];
type Pin = Guard | (typeof TRACEPOINTS)[number] | (typeof SECURITY)[number];
type State = "attached" | "stale" | "absent";

export class BirthPrograms {
  constructor(private readonly parts: BirthParts) {}

  /** Pins the programs that are not pinned, or that are of another build. */
  pin(): void {
    const { native, folder } = this.parts;
    makeFolder(folder);
    for (const pin of this.#pins()) {
      const state = this.#stateOf(pin);
      if (state === "attached") continue;
      // Before the guard, which would close every newborn without it.
      if (isGuard(pin)) this.#placeDecider(pin);
      const program = this.#program(pin);
      const place = join(folder, pin);
      const doing = `Attaching the ${pin} program for newborn cgroups`;
      if (state === "stale" && isGuard(pin)) {
        kernel(doing, () => withPin(native, place, (fd) => native.linkUpdate(fd, program)));
        continue;
      }
      const next = join(folder, `next-${pin}`);
      rmSync(next, { force: true });
      const fd = kernel(doing, () =>
        isGuard(pin) ? native.linkCreate(program, this.parts.cgroupRoot, pin) : native.tracepointOpen(program),
      );
      try {
        kernel(doing, () => native.pin(fd, next));
      } finally {
        native.closeFd(fd);
      }
      // The one before it stays attached until this one is in its place.
      renameSync(next, place);
    }
  }

  unpin(): void {
    rmSync(this.parts.folder, { recursive: true, force: true });
  }

  observe(items: Map<string, EnforcementItem>): void {
    for (const pin of this.#pins()) {
      const state = this.#stateOf(pin);
      if (state !== "absent") addItem(items, guardItem(pin, state === "stale" ? "another program" : ATTACHED));
    }
  }

  #pins(): readonly Pin[] {
    const { programs } = this.parts.object;
    return [...GUARDS, ...TRACEPOINTS, ...SECURITY.filter((pin) => programs[`ztap_${pin}`] !== undefined)];
  }

  #stateOf(pin: Pin): State {
    const { native, folder } = this.parts;
    const place = join(folder, pin);
    if (!existsSync(place)) return "absent";
    const states: State[] = [];
    kernel(`Reading the pin ${pin}`, () =>
      withPin(native, place, (fd) => {
        const { programId, cgroupId } = native.linkInfo(fd);
        if (!isGuard(pin) || cgroupId !== 0n) states.push(this.#compare(programId, this.#program(pin)));
      }),
    );
    const state = states[0] ?? "absent";
    return state === "attached" && isGuard(pin) && !this.#hasDecider(pin) ? "stale" : state;
  }

  /** Returns whether the program is the other one, over the same maps: `absent` if it has maps of its own. */
  #compare(programId: number, program: number): State {
    const { native, object } = this.parts;
    const found = native.programById(programId);
    try {
      const { tag, mapIds } = native.programInfo(found);
      const ours = new Set(Object.values(object.maps).map((map) => native.mapInfo(map).id));
      if (!mapIds.every((id) => ours.has(id))) return "absent";
      return tag === native.programInfo(program).tag ? "attached" : "stale";
    } finally {
      native.closeFd(found);
    }
  }

  #hasDecider(guard: Guard): boolean {
    const { native, object } = this.parts;
    const held = native.mapGet(deciderMap(object, guard), ONLY_KEY);
    return held !== null && this.#compare(held.readUInt32LE(), this.#decider(guard)) === "attached";
  }

  #placeDecider(guard: Guard): void {
    const { native, object } = this.parts;
    const value = Buffer.alloc(4);
    value.writeUInt32LE(this.#decider(guard));
    kernel(`Placing the ${guard} program for newborn cgroups`, () =>
      native.mapSet(deciderMap(object, guard), ONLY_KEY, value),
    );
  }

  #decider(guard: Guard): number {
    return programOf(this.parts.object, `ztap_${guard}`);
  }

  #program(pin: Pin): number {
    return programOf(this.parts.object, isGuard(pin) ? `ztap_guard_${pin}` : `ztap_${pin}`);
  }
}

const ONLY_KEY = Buffer.alloc(4);

function deciderMap(object: LoadedObject, guard: Guard): number {
  return mapOf(object, `ztap_decider_${guard}`);
}

function isGuard(pin: Pin): pin is Guard {
  return GUARDS.some((guard) => guard === pin);
}
