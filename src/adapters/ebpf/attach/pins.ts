/**
 * Pins: the attachments of a node as named in the BPF file system, `<links>/<workload>/<pin>`.
 *
 * A pin with the name of its hook is the workload's attachment in force; `next-<hook>` is attached and waits to replace
 * it; `old-<cgroup id>-<hook>` was in force before, and is still needed on its cgroup.
 */
import { readdirSync, rmdirSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { HOOKS } from "../kernel/programs.js";
import { kernel, type Hook, type LinkInfo, type Native } from "../kernel/native.js";
import { pinName, unpinName } from "../kernel/paths.js";

export interface Link extends LinkInfo {
  readonly workload: string;
  /** The name of the pin. */
  readonly pin: string;
}

export function isHook(pin: string): pin is Hook {
  return HOOKS.some((hook) => hook === pin);
}

export function nextPin(hook: Hook): string {
  return `next-${hook}`;
}

export function oldPin({ cgroupId, hook }: Link): string {
  return `old-${cgroupId}-${hook}`;
}

/** Reads the pins below a node's link folder. Needs no loaded object. */
export function listLinks(native: Native, folder: string): ReadonlyMap<string, readonly Link[]> {
  const found = new Map<string, readonly Link[]>();
  for (const name of entriesOf(folder)) {
    const workload = unpinName(name);
    found.set(workload, listPins(native, join(folder, name), workload));
  }
  return found;
}

/** Returns the pins of one workload; none if it has no folder. */
export function listPins(native: Native, folder: string, workload: string): readonly Link[] {
  return entriesOf(folder).flatMap((pin) => {
    const fd = kernel(`Opening the pin ${pin} of ${workload}`, () => native.openPin(join(folder, pin)));
    if (fd < 0) return [];
    try {
      return [{ ...kernel("Reading a link", () => native.linkInfo(fd)), workload, pin }];
    } finally {
      native.closeFd(fd);
    }
  });
}

/** Detaches and unpins every link in a workload's folder, and removes the folder. */
export function removeLinks(native: Native, folder: string): void {
  removePins(native, folder, listPins(native, folder, unpinName(basename(folder))));
  rmdirSync(folder);
}

/** Detaches and unpins. The packet programs, which are attached last, come first. */
export function removePins(native: Native, folder: string, links: readonly Link[]): void {
  for (const { pin, cgroupId } of [...links].sort((a, b) => rank(b) - rank(a))) {
    // A link whose cgroup is gone is already detached.
    if (cgroupId !== 0n)
      kernel(`Detaching ${pin}`, () => withPin(native, join(folder, pin), (fd) => native.linkDetach(fd)));
    rmSync(join(folder, pin), { force: true });
  }
}

export function withPin(native: Native, pin: string, act: (fd: number) => void): void {
  const fd = kernel(`Opening ${pin}`, () => native.openPin(pin));
  try {
    act(fd);
  } finally {
    native.closeFd(fd);
  }
}

function rank({ hook }: Link): number {
  return HOOKS.findIndex((one) => one === hook);
}

export function linkFolder(links: string, workload: string): string {
  return join(links, pinName(workload));
}

export function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
