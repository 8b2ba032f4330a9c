/**
 * Files that are whole or absent, also after a crash: written beside their place, synced, then moved there. Replacing
 * takes the place of a file; making leaves one that is there.
 */
import {
  chmodSync,
  closeSync,
  constants,
  fsyncSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { randomBytes } from "node:crypto";
import { dirname } from "node:path";
import { makeFolder } from "./folder.js";

export interface FileAccess {
  readonly mode: number;
}

const TEMPORARY = ".next";

/** Returns whether a name is of a file that was being written. */
export function isTemporary(path: string): boolean {
  return /\.[0-9a-f]{12}\.next$/.test(path);
}

/** For secrets, and what only their owner has to read. */
export const PRIVATE: FileAccess = { mode: 0o600 };

/** Replaces the file's content as a whole. */
export function replaceFile(path: string, text: string, { mode }: FileAccess = PRIVATE): void {
  const next = writeBeside(path, text, mode);
  try {
    renameSync(next, path);
  } catch (error) {
    rmSync(next, { force: true });
    throw error;
  }
  syncFolder(dirname(path));
}

/**
 * Makes the file, unless there is one.
 * @returns false if there is one
 */
export function makeFile(path: string, text: string, { mode }: FileAccess = PRIVATE): boolean {
  const next = writeBeside(path, text, mode);
  try {
    linkSync(next, path);
  } catch (error) {
    if (hasCode(error, "EEXIST")) return false;
    throw error;
  } finally {
    rmSync(next, { force: true });
  }
  syncFolder(dirname(path));
  return true;
}

/** Returns the content; null if there is no such file. */
export function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return null;
    throw error;
  }
}

function writeBeside(path: string, text: string, mode: number): string {
  makeFolder(dirname(path), 0o700);
  const next = `${path}.${randomBytes(6).toString("hex")}${TEMPORARY}`;
  const file = openSync(next, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, mode);
  try {
    writeFileSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
  // Whatever the umask is.
  chmodSync(next, mode);
  return next;
}

function syncFolder(path: string): void {
  const folder = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
