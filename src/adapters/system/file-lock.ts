/**
 * A lock between processes, and within one: SQLite's write lock on a database that is never written. The kernel grants it
 * to one holder, and releases it when its process ends, however it ends.
 */
import { loadSqlite } from "./sqlite.js";

/** SQLITE_BUSY */
const BUSY = 5;

/**
 * Takes the lock of a file, which is made if it is missing.
 * @returns what releases it; null if another one has it
 */
export function tryLock(path: string): (() => void) | null {
  const { DatabaseSync } = loadSqlite();
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
