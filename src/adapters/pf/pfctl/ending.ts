/**
 * Ending: the workloads whose connections must be ended after a load of rules that bind them to a user. pf's states do
 * not contain the user, so that this cannot be seen afterwards: it is written to a file before the rules are loaded,
 * and stays there until it is done.
 */
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { makeFolder } from "../../system/folder.js";
import type { Direction } from "../../../model/ruleset.js";
import type { EnforcementItem } from "../../../interfaces/enforcer.js";

export interface Ending {
  readonly workload: string;
  readonly direction: Direction;
}

export class EndingFile {
  readonly #path: string;
  constructor(readonly folder: string) {
    this.#path = join(folder, "pf-ending.json");
  }

  /** Returns the endings; empty if there is no file, or an invalid one. */
  async read(): Promise<readonly Ending[]> {
    try {
      const value: unknown = JSON.parse(await readFile(this.#path, "utf8"));
      return Array.isArray(value) ? value.filter(isEnding) : [];
    } catch (error) {
      if (error instanceof SyntaxError || (error instanceof Error && "code" in error && error.code === "ENOENT"))
        return [];
      throw error;
    }
  }

  async write(endings: readonly Ending[]): Promise<void> {
    makeFolder(this.folder, 0o700);
    const next = `${this.#path}.new`;
    await writeFile(next, JSON.stringify(endings), { mode: 0o600, flush: true });
    await rename(next, this.#path);
  }

  async remove(): Promise<void> {
    await rm(this.#path, { force: true });
  }
}

function isEnding(value: unknown): value is Ending {
  if (value === null || typeof value !== "object" || !("workload" in value) || !("direction" in value)) return false;
  return typeof value.workload === "string" && (value.direction === "ingress" || value.direction === "egress");
}

/** Returns an unwanted item: the next apply ends the connections. */
export function endingItem({ workload, direction }: Ending): EnforcementItem {
  const label = `connections (${direction}) of ${workload} from before it was bound to its user`;
  return { key: `ending/${workload}/${direction}`, value: "to be ended", type: "entry", label, workload };
}

/** Removes repetitions. */
export function mergeEndings(endings: readonly Ending[]): readonly Ending[] {
  return [...new Map(endings.map((ending) => [`${ending.workload} ${ending.direction}`, ending])).values()];
}
