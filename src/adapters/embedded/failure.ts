/** What lmdb and the file system report, as a StoreError that says what to do. */
import { StoreError } from "../../ports/store.js";

/** Codes of lmdb (negative) and of the system (errno), as lmdb gives both; names as Node gives them. */
const PERMISSION: ReadonlySet<unknown> = new Set([1, 13, 30, "EPERM", "EACCES", "EROFS"]);
/** MDB_INVALID, MDB_CORRUPTED, MDB_PAGE_NOTFOUND, MDB_VERSION_MISMATCH, MDB_INCOMPATIBLE */
const DAMAGED: ReadonlySet<unknown> = new Set([-30793, -30796, -30797, -30794, -30784]);
/**
 * EFBIG, ENOSPC, EDQUOT, and MDB_MAP_FULL: the store has reached its own bound. EIO too, which is what
 * lmdb makes of a write that went in part, as the first one on a full disk does.
 */
const FULL: ReadonlySet<unknown> = new Set([5, 27, 28, 122, -30792, "EFBIG", "ENOSPC", "EDQUOT"]);
/** MDB_READERS_FULL */
const CROWDED: ReadonlySet<unknown> = new Set([-30790]);

export function storeFailure(error: unknown, path: string): StoreError {
  if (error instanceof StoreError) return error;
  const code = error instanceof Error && "code" in error ? error.code : undefined;
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
      `the disk under the store at ${path} is full or fails (${said}); nothing was written, what was committed before stays; free some space and try again`,
      options,
    );
  if (CROWDED.has(code))
    return new StoreError(
      "store-locked",
      `too many processes have the store at ${path} open; end some and try again`,
      options,
    );
  return new StoreError("store-unavailable", `the store at ${path} cannot be used: ${said}`, options);
}

export function damaged(path: string, why: string, options?: ErrorOptions): StoreError {
  return new StoreError(
    "store-damaged",
    `the store at ${path} is damaged or is no ztap store: ${why}; restore it from a backup, or move it away and apply the policy again`,
    options,
  );
}
