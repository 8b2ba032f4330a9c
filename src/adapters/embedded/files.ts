/**
 * The files of a store, and whose they are. Who may write to them decides what this machine enforces. Who may only read
 * store.db can lock it as well, and keep others waiting for as long as they wait: of root's only a group may.
 */
import { lstatSync, statSync, type Stats } from "node:fs";
import { join } from "node:path";
import { StoreError } from "../../interfaces/store.js";

/** The database, what SQLite makes beside it (the last two where somebody turned on its write-ahead log), and our own. */
const NAMES = ["store.db", "store.db-journal", "store.db-wal", "store.db-shm", "notify"] as const;

export function dataFileOf(path: string): string {
  return join(path, NAMES[0]);
}

export function notifyFileOf(path: string): string {
  return join(path, "notify");
}

/** Device and inode of store.db; null where there is none. Another one under the same name is another store. */
export function identityOf(path: string): string | null {
  const stats = lstatSync(dataFileOf(path), { throwIfNoEntry: false });
  return stats === undefined ? null : `${stats.dev}:${stats.ino}`;
}

/** @throws StoreError `store-permission` where somebody else could change the store, or keep it locked */
export function refuseForeign(path: string): void {
  const user = process.geteuid?.();
  const folder = statSync(path, { throwIfNoEntry: false });
  if (user === undefined || folder === undefined || !folder.isDirectory()) return;
  // A user's own group is often his alone; root's machine is nobody's but root's. Names in a folder are no secret.
  if (!isOf(user, folder) || (folder.mode & (user === 0 ? 0o022 : 0o002)) !== 0)
    throw new StoreError(
      "store-permission",
      `the folder of the store at ${path} is not this user's alone (${told(folder)}): ${PERIL}; ${copying(path)}`,
    );
  for (const name of NAMES) refuseForeignFile(path, name, user);
}

function refuseForeignFile(path: string, name: string, user: number): void {
  const file = join(path, name);
  const stats = lstatSync(file, { throwIfNoEntry: false });
  if (stats === undefined) return;
  if (!stats.isFile())
    throw new StoreError(
      "store-permission",
      `${file} is no regular file: ztap did not make it; move it away, or use --store with another folder`,
    );
  if (!isOf(user, stats))
    throw new StoreError("store-permission", `${file} is not this user's (${told(stats)}): ${PERIL}; ${copying(path)}`);
  if (stats.nlink > 1)
    throw new StoreError(
      "store-permission",
      `${file} has another name as well (a hard link): through that ${PERIL}; ${copying(path)}`,
    );
  if ((stats.mode & (stats.uid === 0 ? 0o026 : 0o002)) !== 0)
    throw new StoreError(
      "store-permission",
      `${file} is open to other users (${told(stats)}): they could change it, or lock it and keep ztap waiting; close it with \`chmod 600 ${file}\``,
    );
}

const PERIL = "somebody else could put another policy in force";

/** A file keeps its hard links, and whoever has it open keeps it open, whatever chown and chmod say later: a copy has neither. */
function copying(path: string): string {
  return `use --store with another folder, or, if you trust what is in it, stop what uses it and copy it: \`umask 077; mkdir NEW; cp ${path}/store.db* NEW\``;
}

function isOf(user: number, { uid }: Stats): boolean {
  return uid === user || uid === 0;
}

function told({ uid, mode }: Stats): string {
  return `owner ${uid}, mode ${(mode & 0o777).toString(8)}`;
}
