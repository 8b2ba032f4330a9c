/**
 * A lock between processes, and within one: SQLite's write lock on a database that is never written. The kernel grants it
 * to one holder, and releases it when its process ends, however it ends.
 */
import { closeSync, openSync } from "node:fs";
import { loadSqlite } from "./sqlite.js";

/** SQLITE_BUSY */
const BUSY = 5;

/**
 * Takes the lock of a file, which is made if it is missing, for its owner alone: who can open it can keep it locked.
 * @returns what releases it; null if another one has it
 */
export function tryLock(path: string): (() => void) | null {
  const { DatabaseSync } = loadSqlite();
  makeIfMissing(path);
  const database = new DatabaseSync(path);
  try {
    database.exec("BEGIN IMMEDIATE");
  } catch (error) {
    database.close();
    if (error instanceof Error && "errcode" in error && error.errcode === BUSY) return null;
    throw error;
  }
  return () => database.close();
}

/** A file that is there is not opened: closing it would release the locks that this process has on it. */
function makeIfMissing(path: string): void {
  try {
    closeSync(openSync(path, "wx", 0o600));
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  }
}
