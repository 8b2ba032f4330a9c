/**
 * Delegation: a cgroup whose processes can leave it. Who may write to a cgroup above it moves processes out of it (cgroup v2:
 * a move needs write access to `cgroup.procs` of the common ancestor; so does one of a thread by `cgroup.threads`, whose own
 * access then counts for nothing above the workload).
 */
import { statSync } from "node:fs";
import { dirname, join } from "node:path";

const WRITABLE_BY_OTHERS = 0o022;

/** A cgroup that a user other than root can write to, and that user. */
export interface Delegated {
  readonly cgroup: string;
  readonly user: number | "others";
}

/** Reads each cgroup once: workloads share those above them. */
export class Delegation {
  readonly #known = new Map<string, Delegated | null>();

  constructor(private readonly cgroupRoot: string) {}

  /** Returns the innermost cgroup above this one that a user other than root can write to; or null. */
  above(path: string): Delegated | null {
    const parent = dirname(path);
    if (!parent.startsWith(this.cgroupRoot)) return null;
    const known = this.#known.get(parent);
    if (known !== undefined) return known;
    const found = delegatedTo(parent) ?? this.above(parent);
    this.#known.set(parent, found);
    return found;
  }
}

function delegatedTo(cgroup: string): Delegated | null {
  for (const file of [cgroup, join(cgroup, "cgroup.procs")]) {
    const found = statSync(file, { throwIfNoEntry: false });
    if (found === undefined) continue;
    if (found.uid !== 0) return { cgroup, user: found.uid };
    if ((found.mode & WRITABLE_BY_OTHERS) !== 0) return { cgroup, user: "others" };
  }
  return null;
}
