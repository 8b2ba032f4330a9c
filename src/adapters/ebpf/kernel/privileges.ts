/**
 * Privileges: checks this process's capabilities, and whether the folders of the pins belong to it. The BPF file system
 * may be open to every user (sticky, like /tmp): a folder that another user made there first would let that user move
 * or unlink root's pins in it.
 */
import { lstatSync, mkdirSync } from "node:fs";
import { relative, sep, join } from "node:path";
import { EnforcerError } from "../../../interfaces/enforcer.js";
import type { Native } from "./native.js";

const NEEDED: readonly (readonly [name: string, bit: bigint])[] = [
  ["CAP_NET_ADMIN", 12n],
  ["CAP_SYS_ADMIN", 21n],
  ["CAP_BPF", 39n],
];

/** Returns the names of the capabilities that enforcement needs and this process lacks. */
export function missingCapabilities(native: Native): readonly string[] {
  const held = native.capabilities();
  return NEEDED.filter(([, bit]) => (held & (1n << bit)) === 0n).map(([name]) => name);
}

/** @throws EnforcerError `not-permitted` */
export function requirePrivileges(native: Native): void {
  const missing = missingCapabilities(native);
  if (missing.length === 0) return;
  throw new EnforcerError("not-permitted", `Enforcing needs root; this process lacks ${missing.join(", ")}`);
}

/**
 * Creates `folder` and its missing parents below `base`, for this user only, and checks that existing ones belong to
 * this user and that no other user may write to them.
 * @throws EnforcerError `not-permitted`
 */
export function ownFolder(base: string, folder: string): void {
  for (const path of pathsBetween(base, folder)) {
    makeFolder(path);
    requireOwn(path);
  }
}

/**
 * Like `ownFolder`, for reading: creates nothing, and ignores missing folders.
 * @throws EnforcerError `not-permitted`
 */
export function requireOwnFolder(base: string, folder: string): void {
  for (const path of pathsBetween(base, folder)) requireOwn(path);
}

function pathsBetween(base: string, folder: string): readonly string[] {
  const names = relative(base, folder).split(sep);
  return names.map((_, index) => join(base, ...names.slice(0, index + 1)));
}

function requireOwn(path: string): void {
  const stats = lstatSync(path, { throwIfNoEntry: false });
  if (stats !== undefined) {
    if (!stats.isDirectory() || stats.uid !== process.geteuid?.() || (stats.mode & 0o022) !== 0) {
      throw new EnforcerError(
        "not-permitted",
        `${path} is not a folder of this user alone (owner ${stats.uid}, mode ${(stats.mode & 0o777).toString(8)}); ` +
          "another user could remove enforcement there. Find out who created it, and remove it",
      );
    }
  }
}

function makeFolder(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "EEXIST") return;
    throw new EnforcerError("not-permitted", `Cannot create ${path}. Is it on a BPF file system, and are you root?`, {
      cause,
    });
  }
}
