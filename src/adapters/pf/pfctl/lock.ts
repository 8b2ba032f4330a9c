/**
 * Lock: one process enforces with this machine's pf. It is SQLite's write lock on a database that is never written: the
 * kernel grants it to one process, and releases it when that process ends, however it ends.
 */
import { join } from "node:path";
import { makeFolder } from "../../system/folder.js";
import { EnforcerError } from "../../../interfaces/enforcer.js";
import { loadSqlite } from "../../system/sqlite.js";

/** SQLITE_BUSY */
const BUSY = 5;

export interface Lock {
  release(): Promise<void>;
}

/**
 * Takes the lock.
 * @throws EnforcerError `busy` if another process has it
 */
export async function takeLock(folder: string): Promise<Lock> {
  makeFolder(folder, 0o700);
  const { DatabaseSync } = loadSqlite();
  const database = new DatabaseSync(join(folder, "pf-lock.db"));
  try {
    database.exec("BEGIN IMMEDIATE");
  } catch (error) {
    database.close();
    if (error instanceof Error && "errcode" in error && error.errcode === BUSY)
      throw new EnforcerError("busy", "another process enforces with this machine's pf; stop its agent first");
    throw error;
  }
  return { release: async () => database.close() };
}
