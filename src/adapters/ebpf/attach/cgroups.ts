/** Cgroups by id: the kernel identifies a link's cgroup by its id alone, and only the hierarchy gives its path. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { kernel, type Native } from "../kernel/native.js";

/**
 * Walks the hierarchy until all ids are found. An id that is not found belongs to a removed cgroup: ids are never
 * reused, and a folder that exists throughout is always visited.
 */
export function cgroupPaths(native: Native, root: string, wanted: ReadonlySet<bigint>): ReadonlyMap<bigint, string> {
  const found = new Map<bigint, string>();
  const queue = wanted.size === 0 ? [] : [""];
  for (let path = queue.shift(); path !== undefined && found.size < wanted.size; path = queue.shift()) {
    const folder = join(root, path);
    const id = kernel("Walking the cgroups", () => native.cgroupId(folder));
    if (id !== null && wanted.has(id)) found.set(id, path);
    for (const name of foldersIn(folder)) queue.push(join(path, name));
  }
  return found;
}

/** Returns no folders if the cgroup was removed meanwhile. */
function foldersIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
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
