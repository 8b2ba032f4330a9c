/**
 * Delegation: a cgroup whose processes can leave it. Who may write to a cgroup above it moves processes out of it (cgroup v2:
 * a move needs write access to `cgroup.procs` of the common ancestor).
 */
import { statSync } from "node:fs";
import { dirname, join } from "node:path";

const WRITABLE_BY_OTHERS = 0o022;

/** Returns the innermost cgroup above this one that a user other than root can write to, and that user; or null. */
export function delegatedAbove(
  cgroupRoot: string,
  path: string,
): { readonly cgroup: string; readonly user: number | "others" } | null {
  for (let above = dirname(path); above.startsWith(cgroupRoot); above = dirname(above)) {
    for (const file of [above, join(above, "cgroup.procs")]) {
      const found = statSync(file, { throwIfNoEntry: false });
      if (found === undefined) continue;
      if (found.uid !== 0) return { cgroup: above, user: found.uid };
      if ((found.mode & WRITABLE_BY_OTHERS) !== 0) return { cgroup: above, user: "others" };
    }
    if (above === cgroupRoot) break;
  }
  return null;
}
