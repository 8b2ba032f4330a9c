/**
 * Cgroups by id: the kernel identifies a link's cgroup by its id alone. The hierarchy is never walked: users to whom a
 * subtree is delegated decide how wide and deep it is.
 */
import { relative } from "node:path";
import { kernel, type Native } from "../kernel/native.js";

/**
 * Returns those cgroups that still have a folder, with their paths below `root`; null for a path that is longer than PATH_MAX, or outside. An id
 * that is not among them belongs to a removed cgroup: ids are never reused.
 */
export function cgroupPaths(
  native: Native,
  root: string,
  ids: ReadonlySet<bigint>,
): ReadonlyMap<bigint, string | null> {
  const found = new Map<bigint, string | null>();
  for (const id of ids) {
    const path = kernel("Looking up a cgroup", () => native.cgroupById(root, id));
    if (path !== null) found.set(id, path === "" ? null : below(root, path));
  }
  return found;
}

/** Returns null for a path that this process cannot use: outside of its cgroup namespace. */
function below(root: string, path: string): string | null {
  const found = relative(root, path);
  return found === ".." || found.startsWith("../") ? null : found;
}

/** Caches which cgroups were removed while sockets in them live: a cgroup never comes back. */
export class RemovedCgroups {
  #known: ReadonlySet<bigint> = new Set();

  constructor(
    private readonly native: Native,
    private readonly root: string,
  ) {}

  /** Returns those of the cgroups, all of them known to the kernel, whose folder is gone. */
  among(ids: ReadonlySet<bigint>): ReadonlySet<bigint> {
    const unknown = new Set([...ids].filter((id) => !this.#known.has(id)));
    const paths = cgroupPaths(this.native, this.root, unknown);
    this.#known = new Set([...ids].filter((id) => !paths.has(id)));
    return this.#known;
  }
}
