/** Locate: finds the cgroup of each workload of an image on this machine, or the reason why it has none. */
import type { Ruleset } from "../../../model/ruleset.js";
import type { SubjectStatus } from "../../../model/status.js";
import { EnforcerError } from "../../../interfaces/enforcer.js";
import type { Image, ImageSubject } from "../lower/image.js";
import type { Place } from "./links.js";
import { ABI } from "../kernel/abi.generated.js";
import { kernel, type Native } from "../kernel/native.js";
import { cgroupLevel, cgroupPath, isNameable } from "../kernel/paths.js";

/** A subject whose cgroup exists. */
export interface Present extends ImageSubject, Place {
  readonly level: number;
}

export interface Located {
  readonly present: readonly Present[];
  /** `Enforced` here means that it can be enforced. Whether it is, only the items show. */
  readonly statuses: readonly SubjectStatus[];
}

/** The cgroup that is taken for the root. */
export interface CgroupRoot {
  readonly path: string;
  readonly level: number;
}

export function locate(native: Native, root: CgroupRoot, ruleset: Ruleset, image: Image): Located {
  const present: Present[] = [];
  const owners = new Map<bigint, string>();
  const statuses = ruleset.subjects.map(({ workload, cgroup, isHost }): SubjectStatus => {
    const subject = image.subjects.get(workload);
    if (isHost === true && subject === undefined) return { workload, state: "Enforced" };
    const below = isHost === true ? "" : cgroup;
    if (below === null || subject === undefined)
      return { workload, state: "Stalled", message: "it has no cgroup, which eBPF enforcement needs" };
    const path = cgroupPath(root.path, below);
    if (!isNameable(below)) {
      const message = `its cgroup is more than ${ABI.MAX_LEVEL} levels deep, or has a name of ${ABI.NAME_BYTES} bytes or more`;
      return { workload, state: "Stalled", message };
    }
    const cgroupId = findCgroup(native, path);
    if (typeof cgroupId === "string") return { workload, state: "Stalled", message: cgroupId };
    if (cgroupId === null) return { workload, state: "Pending", message: `its cgroup ${path} does not exist yet` };
    const owner = owners.get(cgroupId);
    if (owner !== undefined)
      return {
        workload,
        state: "Stalled",
        message: isHost === true ? `${owner} is this host already` : `its cgroup ${path} already belongs to ${owner}`,
      };
    owners.set(cgroupId, workload);
    present.push({ ...subject, workload, path, cgroupId, level: root.level + cgroupLevel(below) });
    return { workload, state: "Enforced", place: String(cgroupId) };
  });
  return { present, statuses };
}

/** Returns whether the cgroup was removed since it was found. Its path may have another one. */
export function isGone(native: Native, { path, cgroupId }: Place): boolean {
  const found = findCgroup(native, path);
  return typeof found !== "string" && found !== cgroupId;
}

/**
 * Returns the cgroup's id (not that of a file in it, which has one as well), null if there is none, or the reason why
 * it cannot be examined: one broken path must not affect other workloads.
 */
export function findCgroup(native: Native, path: string): bigint | string | null {
  try {
    return kernel("Looking for the cgroup", () => native.cgroupId(`${path}/.`));
  } catch (error) {
    if (!(error instanceof EnforcerError)) throw error;
    return error.message;
  }
}
