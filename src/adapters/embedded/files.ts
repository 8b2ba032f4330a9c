/**
 * The files of a store, and their owners. A user who can write to them decides what this machine enforces. A user who
 * can only read store.db can still lock it, and keep others waiting that long: only a group may read root's.
 */
import { lstatSync, statSync, type Stats } from "node:fs";
import { join } from "node:path";
import { StoreError } from "../../interfaces/store.js";

/** The database, SQLite's files beside it (the last two if its write-ahead log is on), and our own. */
const NAMES = ["store.db", "store.db-journal", "store.db-wal", "store.db-shm", "notify"] as const;

export function dataFileOf(path: string): string {
  return join(path, NAMES[0]);
}

export function notifyFileOf(path: string): string {
  return join(path, "notify");
}

/** Returns device and inode of store.db; null if there is none. Another file of the same name is another store. */
export function identityOf(path: string): string | null {
  const stats = lstatSync(dataFileOf(path), { throwIfNoEntry: false });
  return stats === undefined ? null : `${stats.dev}:${stats.ino}`;
}

/**
 * Refuses files of others.
 * @throws StoreError `store-permission` if another user could change the store, or keep it locked
 */
export function refuseForeign(path: string): void {
  const user = process.geteuid?.();
  const folder = statSync(path, { throwIfNoEntry: false });
  if (user === undefined || folder === undefined || !folder.isDirectory()) return;
  // A user's own group often has no other member; on root's machine only root may write. File names in a folder are no
  // secret.
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
      `${file} is not a regular file: ztap did not create it; move it away, or use --store with another folder`,
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

const PERIL = "another user could put another policy in force";

/**
 * A file keeps its hard links, and processes that have it open keep it open, despite later chown and chmod: a copy has
 * neither.
 */
function copying(path: string): string {
  return `use --store with another folder, or, if you trust its content, stop the processes that use it and copy it: \`umask 077; mkdir NEW; cp ${path}/store.db* NEW\``;
}

function isOf(user: number, { uid }: Stats): boolean {
  return uid === user || uid === 0;
}

function told({ uid, mode }: Stats): string {
  return `owner ${uid}, mode ${(mode & 0o777).toString(8)}`;
}
