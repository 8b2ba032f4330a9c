/**
 * Birth programs: the pins of the programs that enforce newborn cgroups: the guards at the cgroup root, and those at the
 * tracepoints of cgroups. For a newborn, a guard calls the packet program of workloads, which stands in a map of its own.
 */
import { existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { EnforcementItem } from "../../../interfaces/enforcer.js";
import { makeFolder } from "../../system/folder.js";
import { addItem, ATTACHED, guardItem } from "../items.js";
import { ABI } from "../kernel/abi.generated.js";
import { programOf } from "../kernel/load.js";
import { kernel, type LoadedObject, type Native } from "../kernel/native.js";
import { GUARDS, IDENTIFY, ROOT_HOOKS, SECURITY, TRACEPOINTS } from "../kernel/programs.js";
import type { CgroupRoot } from "./locate.js";
import { withPin } from "./pins.js";
import { compareProgram, hasDecider, placeDecider, type ProgramState } from "./program-state.js";

export interface BirthParts {
  readonly native: Native;
  readonly object: LoadedObject;
  /** Folder of the pins. */
  readonly folder: string;
  readonly cgroupRoot: CgroupRoot;
}

type Guard = (typeof GUARDS)[number];
type RootPin = Guard | (typeof ROOT_HOOKS)[number];
type Pin = RootPin | (typeof TRACEPOINTS)[number] | (typeof SECURITY)[number];

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
      if (state === "stale" && isAtRoot(pin)) {
        kernel(doing, () => withPin(native, place, (fd) => native.linkUpdate(fd, program)));
        continue;
      }
      const next = join(folder, `next-${pin}`);
      rmSync(next, { force: true });
      const fd = kernel(doing, () =>
        isAtRoot(pin) ? native.linkCreate(program, this.parts.cgroupRoot.path, pin) : native.tracepointOpen(program),
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
    return [
      ...GUARDS,
      ...ROOT_HOOKS,
      ...TRACEPOINTS,
      ...SECURITY.filter((pin) => programs[`ztap_${pin}`] !== undefined),
    ];
  }

  #stateOf(pin: Pin): ProgramState {
    const { native, folder } = this.parts;
    const place = join(folder, pin);
    if (!existsSync(place)) return "absent";
    const states: ProgramState[] = [];
    kernel(`Reading the pin ${pin}`, () =>
      withPin(native, place, (fd) => {
        const { programId, cgroupId } = native.linkInfo(fd);
        if (!isAtRoot(pin) || cgroupId !== 0n)
          states.push(compareProgram(native, this.parts.object, programId, this.#program(pin)));
      }),
    );
    const state = states[0] ?? "absent";
    return state === "attached" && isGuard(pin) && !this.#hasDecider(pin) ? "stale" : state;
  }

  #hasDecider(guard: Guard): boolean {
    const map = `ztap_decider_${guard}`;
    return (
      hasDecider(this.parts, map, `ztap_${guard}`) &&
      (guard === "egress" || hasDecider(this.parts, map, IDENTIFY, ABI.IDENTIFIES))
    );
  }

  #placeDecider(guard: Guard): void {
    // The packet program calls the one that identifies senders, so that this one comes first.
    if (guard === "ingress") placeDecider(this.parts, "ztap_decider_ingress", IDENTIFY, ABI.IDENTIFIES);
    placeDecider(this.parts, `ztap_decider_${guard}`, `ztap_${guard}`);
  }

  #program(pin: Pin): number {
    return programOf(this.parts.object, isAtRoot(pin) ? `ztap_guard_${pin}` : `ztap_${pin}`);
  }
}

function isGuard(pin: Pin): pin is Guard {
  return GUARDS.some((guard) => guard === pin);
}

function isAtRoot(pin: Pin): pin is RootPin {
  return isGuard(pin) || ROOT_HOOKS.some((hook) => hook === pin);
}
