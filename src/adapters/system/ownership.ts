/**
 * Ownership: finds out whether other users could change a path's content, by the file itself, by a folder above it, or
 * by a link.
 */
import { lstatSync, realpathSync } from "node:fs";
import { dirname, resolve } from "node:path";

/**
 * Returns why users other than this one and root control the path's content now or later, in one phrase; null if they
 * do not. A path that does not exist yet is theirs if they can create it.
 */
export function writableByOthers(path: string, user: number): string | null {
  try {
    return look(resolve(path), user, false);
  } catch (error) {
    return `${path} cannot be examined (${error instanceof Error ? error.message : String(error)})`;
  }
}

/**
 * Checks one path.
 * @param holds whether it is a folder with a file of ours in it, which nobody else can replace if the folder is sticky
 */
function look(path: string, user: number, holds: boolean): string | null {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  const above = dirname(path) === path ? null : look(dirname(path), user, stats !== undefined);
  if (above !== null || stats === undefined) return above;
  if (stats.uid !== user && stats.uid !== 0) return `${path} belongs to user ${stats.uid}`;
  if (stats.isSymbolicLink()) return look(realpathSync(path), user, holds);
  if (holds && (stats.mode & 0o1000) !== 0) return null;
  // A user's own group often has no other member; on root's machine only root may write.
  return (stats.mode & (user === 0 ? 0o022 : 0o002)) === 0 ? null : `others may write to ${path}`;
}
