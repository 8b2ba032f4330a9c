/**
 * Privileges: what this process may do, and whether the folders of the pins are its own. The BPF file
 * system may be open to every user (sticky, like /tmp): a folder that somebody else made there first
 * would let him move or unlink what root pins in it.
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

/** The names of the capabilities that enforcement needs and this process lacks. */
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
 * Makes `folder` and what is missing between it and `base`, for this user alone, and checks that what
 * was there is this user's and nobody else may write to it.
 * @throws EnforcerError `not-permitted`
 */
export function ownFolder(base: string, folder: string): void {
  for (const path of pathsBetween(base, folder)) {
    makeFolder(path);
    requireOwn(path);
  }
}

/** As `ownFolder`, for looking: makes nothing, and minds nothing that is not there. @throws EnforcerError `not-permitted` */
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
          "somebody else could take enforcement away there. Look at who made it, and remove it",
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
