/**
 * Looks at the authority's folder before anything of it is used: at the folders and files that it has by its own names,
 * and at nothing else. No link is followed. What is found good stays so: nobody else can write to a folder that was.
 */
import { lstatSync, readdirSync, rmSync, type Stats } from "node:fs";
import { join } from "node:path";
import { isTemporary } from "../system/atomic-file.js";
import { writableByOthers } from "../system/ownership.js";

/** Folders that hold one folder for each bearer. */
const BEARERS = ["members", "nodes", "operators"];
const PLAIN = ["authority", "tokens"];
/** In the folder itself. */
const FILES = /^(cluster\.yaml|roles\.sh|etcd-users|(?:etcd-)?lock\.db)/;
const LOCKS = ["lock.db", "etcd-lock.db"];

const LEFTOVER_MS = 10 * 60_000;

interface Found {
  readonly path: string;
  readonly stats: Stats;
}

/** Returns why the folder is not to be used, in one phrase; null if it is good. */
export function whyUnusable(root: string, user: number): string | null {
  const above = writableByOthers(root, user);
  if (above !== null) return above;
  for (const found of partsOf(root)) {
    const why = problemOf(found, user);
    if (why !== null) return why;
  }
  return null;
}

/** Returns the lock that other users can open; null if there is none. They can keep it locked with reading alone. */
export function lockOpenToOthers(root: string): string | null {
  const isOpen = (path: string): boolean => ((lstatSync(path, { throwIfNoEntry: false })?.mode ?? 0) & 0o077) !== 0;
  return LOCKS.map((name) => join(root, name)).find(isOpen) ?? null;
}

/** Removes what a run that was killed has written beside its place; it may hold a key. */
export function removeLeftovers(root: string, nowMs: number): void {
  for (const { path, stats } of partsOf(root))
    // A younger one may be of a run at the same time.
    if (stats.isFile() && isTemporary(path) && nowMs - stats.mtimeMs > LEFTOVER_MS) rmSync(path, { force: true });
}

/** Returns the certificates of bearers, and the tokens, as paths below the folder. */
export function listIssued(root: string): readonly string[] {
  return [...partsOf(root)].flatMap(({ path, stats }) => {
    const name = path.slice(root.length + 1);
    const [top = ""] = name.split("/");
    const isIssued = BEARERS.includes(top) ? name.endsWith(".crt") : top === "tokens" && name.endsWith(".json");
    return stats.isFile() && isIssued ? [name] : [];
  });
}

function problemOf({ path, stats }: Found, user: number): string | null {
  if (stats.isSymbolicLink()) return `${path} is a link`;
  if (stats.uid !== user && stats.uid !== 0) return `${path} belongs to user ${stats.uid}`;
  if (path.endsWith(".key") && (stats.mode & 0o077) !== 0) return `others may read ${path}`;
  return (stats.mode & (user === 0 ? 0o022 : 0o002)) === 0 ? null : `others may write to ${path}`;
}

/** A folder comes before what is in it, so that one that is refused is not entered. */
function* partsOf(root: string): Generator<Found> {
  for (const found of entriesOf(root)) {
    const name = found.path.slice(root.length + 1);
    const isBearers = BEARERS.includes(name);
    if (!isBearers && !PLAIN.includes(name)) {
      if (FILES.test(name)) yield found;
      continue;
    }
    yield found;
    if (!found.stats.isDirectory()) continue;
    for (const below of entriesOf(found.path)) {
      yield below;
      if (isBearers && below.stats.isDirectory()) yield* entriesOf(below.path);
    }
  }
}

function* entriesOf(folder: string): Generator<Found> {
  for (const name of readdirSync(folder).sort()) {
    const path = join(folder, name);
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats !== undefined) yield { path, stats };
  }
}
