/**
 * Root level: how deep the cgroup that is taken for the root lies in the kernel's own hierarchy. In a cgroup namespace with a mount of its
 * own, the root that a process sees is a cgroup like others, and the programs count from the real one.
 */
import { ABI, KNOWN } from "../kernel/abi.generated.js";
import { programOf } from "../kernel/load.js";
import { kernel, type LoadedObject, type Native } from "../kernel/native.js";
import { mountedLevel } from "../kernel/paths.js";
import { IS_ABOVE } from "../kernel/programs.js";

export function findRootLevel(native: Native, object: LoadedObject, cgroupRoot: string): number {
  const program = programOf(object, IS_ABOVE);
  const cgroupId = kernel("Looking for the cgroup root", () => native.cgroupId(`${cgroupRoot}/.`)) ?? 0n;
  for (let level = 0; level <= ABI.MAX_LEVEL; level++) {
    const asked = Buffer.alloc(KNOWN.size);
    asked.writeBigUInt64LE(cgroupId, KNOWN.cgroup);
    asked.writeUInt32LE(level, KNOWN.level);
    if (kernel(`Running ${IS_ABOVE}`, () => native.runEach(program, asked, asked.length)) === 0) return level;
  }
  // This process is not below it: then the path tells.
  return mountedLevel(cgroupRoot);
}
