/** Turns errors of SQLite and the file system into StoreErrors with advice. */
import { StoreError } from "../../interfaces/store.js";

/** Names of system errors, as in Node, and SQLite's primary result codes (sqlite.org/rescode.html). */
const PERMISSION: ReadonlySet<unknown> = new Set(["EPERM", "EACCES", "EROFS", 3, 8]);
/** SQLITE_CORRUPT, SQLITE_NOTADB */
const DAMAGED: ReadonlySet<unknown> = new Set([11, 26]);
/** SQLITE_FULL, and SQLITE_IOERR, which SQLite reports for a quota, a file size limit and a failing disk. */
const FULL: ReadonlySet<unknown> = new Set(["EFBIG", "ENOSPC", "EDQUOT", 10, 13]);
/** SQLITE_BUSY */
const BUSY: ReadonlySet<unknown> = new Set([5]);

export function storeFailure(error: unknown, path: string): StoreError {
  if (error instanceof StoreError) return error;
  const code = codeOf(error);
  const said = error instanceof Error ? error.message : String(error);
  const options = { cause: error };
  if (PERMISSION.has(code))
    return new StoreError(
      "store-permission",
      `no permission for the store at ${path} (${said}); run as root or use --store`,
      options,
    );
  if (DAMAGED.has(code)) return damaged(path, said, options);
  if (FULL.has(code))
    return new StoreError(
      "store-unavailable",
      `the disk under the store at ${path} is full or fails (${said}); nothing was written, earlier commits are intact; free some space and try again`,
      options,
    );
  if (BUSY.has(code))
    return new StoreError(
      "store-locked",
      `another process has kept the store at ${path} locked for too long (${said}); find it with \`fuser ${path}/*\`: it may have been suspended (SIGSTOP)`,
      options,
    );
  return new StoreError("store-unavailable", `the store at ${path} cannot be used: ${said}`, options);
}

export function damaged(path: string, why: string, options?: ErrorOptions): StoreError {
  return new StoreError(
    "store-damaged",
    `the store at ${path} is damaged or is not a ztap store: ${why}; restore it from a backup, or move it away and apply the policy again`,
    options,
  );
}

/** Returns whether another process has the database locked. */
export function isBusy(error: unknown): boolean {
  return BUSY.has(codeOf(error));
}

/**
 * Returns SQLite's primary result code, from the extended one that Node reports; otherwise the name of the system
 * error.
 */
function codeOf(error: unknown): unknown {
  if (!(error instanceof Error)) return undefined;
  if ("errcode" in error && typeof error.errcode === "number") return error.errcode & 0xff;
  return "code" in error ? error.code : undefined;
}
