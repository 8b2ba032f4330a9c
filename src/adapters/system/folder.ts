/**
 * Creates a folder and its missing parents.
 *
 * Node's own `mkdir` with `recursive` never returns on a file system that answers "no such file or directory" although
 * the parent exists, as /proc does: it creates the parent once more, and tries again.
 */
import { mkdirSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";

/**
 * Creates the folder.
 * @param mode of each created folder
 * @throws if it cannot be created, or is a file
 */
export function makeFolder(path: string, mode = 0o777): void {
  try {
    mkdirSync(path, { mode });
  } catch (error) {
    if (isFolder(path)) return;
    const above = dirname(resolve(path));
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    if (isFolder(above))
      throw new Error(
        `${path} cannot be created: the file system of ${above} accepts no new folder; choose another path`,
      );
    if (above === resolve(path)) throw error;
    makeFolder(above, mode);
    makeFolder(path, mode);
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
}
