/**
 * Lock: one process enforces with this machine's pf. It is SQLite's lock for writing on a database that nobody writes:
 * the kernel gives it to one process alone, and takes it back when that ends, however it ends.
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

/** @throws EnforcerError `busy` where another process has it */
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
