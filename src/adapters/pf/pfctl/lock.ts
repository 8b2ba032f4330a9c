/** Lock: one process enforces with this machine's pf. */
import { join } from "node:path";
import { EnforcerError } from "../../../interfaces/enforcer.js";
import { tryLock } from "../../system/file-lock.js";
import { makeFolder } from "../../system/folder.js";

export interface Lock {
  release(): Promise<void>;
}

/**
 * Takes the lock.
 * @throws EnforcerError `busy` if another process has it
 */
export async function takeLock(folder: string): Promise<Lock> {
  makeFolder(folder, 0o700);
  const release = tryLock(join(folder, "pf-lock.db"));
  if (release === null)
    throw new EnforcerError("busy", "another process enforces with this machine's pf; stop its agent first");
  return { release: async () => release() };
}
