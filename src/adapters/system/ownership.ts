/** Ownership: whether others could change what stands under a path, by the file itself, by a folder above it, or by a link. */
import { lstatSync, realpathSync } from "node:fs";
import { dirname, resolve } from "node:path";

/**
 * Why others than the user and root decide what stands under the path now or later, in one phrase; null where they do
 * not. A path that leads nowhere yet is theirs where they can make it.
 */
export function writableByOthers(path: string, user: number): string | null {
  try {
    return look(resolve(path), user, false);
  } catch (error) {
    return `${path} cannot be looked at (${error instanceof Error ? error.message : String(error)})`;
  }
}

/** @param holds whether it is a folder that something of ours stands in, which in a sticky one nobody else can replace */
function look(path: string, user: number, holds: boolean): string | null {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  const above = dirname(path) === path ? null : look(dirname(path), user, stats !== undefined);
  if (above !== null || stats === undefined) return above;
  if (stats.uid !== user && stats.uid !== 0) return `${path} is user ${stats.uid}'s`;
  if (stats.isSymbolicLink()) return look(realpathSync(path), user, holds);
  if (holds && (stats.mode & 0o1000) !== 0) return null;
  // A user's own group is often his alone; root's machine is nobody's but root's.
  return (stats.mode & (user === 0 ? 0o022 : 0o002)) === 0 ? null : `others may write to ${path}`;
}
