/**
 * Reads the cgroup tree, without the parts that users can let grow: for units of systemd only folders of slices are
 * opened, since the system's own manager alone makes folders in them; for a path pattern only what matches its parts so far.
 */
import { lstat, opendir } from "node:fs/promises";
import { join } from "node:path";
import { hasWildcard, matchesGlob } from "../../inventory/glob.js";
import { systemUnitOf } from "../../inventory/process.js";

/** Largest number of folders that one search looks at. */
export const MOST_FOLDERS = 20_000;

export interface FoundCgroups {
  /** Paths below the cgroup root. */
  readonly cgroups: readonly string[];
  /** What was not read, in words; null if everything was. */
  readonly problem: string | null;
}

/** One look at the tree. */
export class CgroupWalk {
  readonly #opened = new Set<string>();

  /**
   * @param root the mount point of cgroup v2
   * @param most see MOST_FOLDERS
   */
  constructor(
    private readonly root: string,
    private readonly most = MOST_FOLDERS,
  ) {}

  /** The folders whose entries decided what was found, as absolute paths; the root first. */
  get opened(): readonly string[] {
    return [...this.#opened];
  }

  /** Finds the cgroups of the units of the system's own manager: slices, and services and scopes in them. */
  async findUnits(): Promise<FoundCgroups> {
    const budget = new Budget(this.most, "units of systemd");
    const units: string[] = [];
    const slices = [""];
    for (let slice = slices.pop(); slice !== undefined; slice = slices.pop()) {
      for (const child of await this.#children(slice, budget)) {
        const unit = systemUnitOf(child);
        if (unit === null) continue;
        units.push(child);
        if (unit.endsWith(".slice")) slices.push(child);
      }
    }
    return { cgroups: units, problem: budget.problem };
  }

  /** Finds the cgroups that match a path pattern as a whole. */
  async findMatches(pattern: string): Promise<FoundCgroups> {
    const budget = new Budget(this.most, `cgroups ${pattern}`);
    let paths: readonly string[] = [""];
    for (const part of pattern.split("/")) {
      const next: string[] = [];
      for (const path of paths) {
        if (hasWildcard(part))
          next.push(...(await this.#children(path, budget)).filter((child) => matchesGlob(part, nameOf(child))));
        else if (await this.#isChild(path, part, budget)) next.push(below(path, part));
      }
      paths = next;
    }
    return { cgroups: paths, problem: budget.problem };
  }

  async #isChild(path: string, name: string, budget: Budget): Promise<boolean> {
    if (["", ".", ".."].includes(name) || !budget.take()) return false;
    this.#opened.add(join(this.root, path));
    try {
      return (await lstat(join(this.root, path, name))).isDirectory();
    } catch (error) {
      budget.fail(error);
      return false;
    }
  }

  /** Returns the folders in a folder; none if it was removed. */
  async #children(path: string, budget: Budget): Promise<readonly string[]> {
    const found: string[] = [];
    this.#opened.add(join(this.root, path));
    try {
      for await (const entry of await opendir(join(this.root, path), { bufferSize: 256 })) {
        if (!entry.isDirectory()) continue;
        if (!budget.take()) break;
        found.push(below(path, entry.name));
      }
    } catch (error) {
      budget.fail(error);
    }
    return found;
  }
}

/** What one search may read: a pattern into a folder that grows without end costs only its own workload. */
class Budget {
  problem: string | null = null;

  constructor(
    private left: number,
    private readonly what: string,
  ) {}

  take(): boolean {
    this.left -= 1;
    if (this.left < 0)
      this.problem ??= `there are more folders than are searched for ${this.what}: some may be missing`;
    return this.left >= 0;
  }

  /** A folder that is gone, or was none, is no failure. */
  fail(error: unknown): void {
    const code = error instanceof Error && "code" in error ? error.code : null;
    if (code === "ENOENT" || code === "ENOTDIR" || code === "ENODEV" || code === "ENAMETOOLONG") return;
    const why = error instanceof Error ? error.message : String(error);
    this.problem ??= `not every cgroup can be read for ${this.what}: ${why}`;
  }
}

const below = (path: string, name: string): string => (path === "" ? name : `${path}/${name}`);
const nameOf = (path: string): string => path.slice(path.lastIndexOf("/") + 1);
