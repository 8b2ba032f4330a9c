/** Finds out whether an agent enforces for a node on this machine now: it holds a lock on the node's folder. */
import { readFile, stat } from "node:fs/promises";
import { nodeFolders } from "../kernel/paths.js";

/**
 * Returns whether the lock is held. It looks the lock up and does not try to take it: an agent that starts at this
 * moment must not find it taken. Null if that is not known.
 */
export async function isNodeLocked(pinRoot: string, node: string): Promise<boolean | null> {
  const found = await stat(nodeFolders(pinRoot, node).node, { bigint: true }).catch(() => null);
  if (found === null) return false;
  const locks = await readFile("/proc/locks", "utf8").catch(() => null);
  // `1: FLOCK ADVISORY WRITE 1234 00:1b:5678 0 EOF`, with the device's numbers in hexadecimal.
  return locks === null ? null : locks.split("\n").some((line) => line.includes(" FLOCK ") && holds(line, found));
}

function holds(line: string, { dev, ino }: { readonly dev: bigint; readonly ino: bigint }): boolean {
  const [, major, minor, inode] = / ([0-9a-f]+):([0-9a-f]+):(\d+) /.exec(line) ?? [];
  if (major === undefined || minor === undefined || inode === undefined || BigInt(inode) !== ino) return false;
  const [high, low] = [BigInt(`0x${major}`), BigInt(`0x${minor}`)];
  // glibc's makedev().
  return dev === (((high & 0xfffn) << 8n) | (low & 0xffn) | ((low & ~0xffn) << 12n) | ((high & ~0xfffn) << 32n));
}
