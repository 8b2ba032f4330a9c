/**
 * Makes a folder and those above it that are missing.
 *
 * Node's own `mkdir` with `recursive` never ends where a file system answers "no such file or directory" although the
 * folder above is there, as /proc does: it makes the folder above once more, and tries again.
 */
import { mkdirSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";

/** @param mode of each folder that is made @throws where it cannot be made, or is a file */
export function makeFolder(path: string, mode = 0o777): void {
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    if (isFolder(path)) return;
    const above = dirname(resolve(path));
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    if (isFolder(above))
      throw new Error(`${path} cannot be made: the file system of ${above} takes no new folder; choose another path`);
    if (above === resolve(path)) throw error;
    makeFolder(above, mode);
    makeFolder(path, mode);
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
