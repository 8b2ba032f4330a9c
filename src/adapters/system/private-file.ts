/** Files that hold a secret: read only if nobody else could have read or written them. */
import { closeSync, constants, fstatSync, openSync, readFileSync } from "node:fs";
import { writableByOthers } from "./ownership.js";

export type PrivateText =
  | { readonly text: string; readonly problem: null }
  /** Why it is not used, in one phrase. */
  | { readonly text: null; readonly problem: string };

/**
 * Reads the file. What is checked is what is read; a link is not followed.
 * @returns null if there is none
 */
export function readPrivate(path: string, user: number): PrivateText | null {
  let file: number;
  try {
    file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const code: unknown = Reflect.get(Object(error), "code");
    if (code === "ENOENT") return null;
    if (code === "ELOOP") return { text: null, problem: `${path} is a link` };
    throw error;
  }
  try {
    const stats = fstatSync(file);
    const problem = !stats.isFile()
      ? `${path} is no file`
      : stats.uid !== user && stats.uid !== 0
        ? `${path} belongs to user ${stats.uid}`
        : (stats.mode & 0o077) !== 0
          ? `others may read ${path}`
          : writableByOthers(path, user);
    return problem === null ? { text: readFileSync(file, "utf8"), problem } : { text: null, problem };
  } finally {
    closeSync(file);
  }
}

/**
 * Reads a file that contains one word and nothing else.
 * @throws Error that says why it is not used, without what it contains
 */
export function readSecret(path: string, user: number): string {
  const found = readPrivate(path, user);
  if (found === null) throw new Error(`there is no file ${path}`);
  if (found.problem !== null) throw new Error(`${found.problem}; let its owner alone read it (chmod 600)`);
  const secret = found.text.replace(/\r?\n$/, "");
  if (!/^[!-~]+$/.test(secret)) throw new Error(`${path} does not contain one word and nothing else`);
  return secret;
}
