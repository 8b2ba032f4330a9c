/**
 * Lists a tree. Reads the output of `git ls-tree` as it comes, and ends git at the first entry beyond a limit: a tree
 * whose entries all name the same subtree has a few hundred bytes, and more files than any memory holds.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { SourceError } from "../../interfaces/source.js";
import { configArguments, environment, type GitOptions } from "./git.js";
import { isSkippedFolder, isSourceFile, type SourceLimits } from "./limits.js";

export interface TreeEntry {
  readonly mode: string;
  readonly id: string;
  readonly size: number;
  /** Relative to the listed tree. */
  readonly path: string;
}

/** How long a listing may take; within the limits it takes a second. */
const LISTING_MS = 60_000;
/** PATH_MAX of Linux: no file system of a work tree holds a longer path. */
const PATH_BYTES = 4096;

/**
 * Lists the source files of a tree, of any mode.
 * @param tree `COMMIT:PATH`
 * @returns null if git cannot read it
 * @throws SourceError `too-large`
 */
export function listTree(
  options: GitOptions,
  tree: string,
  limits: SourceLimits,
): Promise<readonly TreeEntry[] | null> {
  return new Promise((resolve, reject) => {
    if (!existsSync(options.folder))
      return reject(new SourceError("git-failed", `the folder ${options.folder} is gone`));
    // With -t, folders are listed as well: folders without files count, too.
    const args = ["ls-tree", "-r", "-t", "-l", "-z", "--full-tree", "--end-of-options", tree];
    const child = spawn("git", [...configArguments(options), ...args], {
      cwd: options.folder,
      env: environment(options),
      stdio: ["ignore", "pipe", "ignore"],
    });
    const reader = new ListingReader(limits);
    let refusal: string | null = null;
    const refuse = (why: string): void => {
      refusal ??= why;
      child.kill("SIGKILL");
    };
    const deadline = setTimeout(() => refuse(`takes more than ${LISTING_MS / 1000} s to list`), LISTING_MS);
    child.stdout.on("data", (chunk: Buffer) => {
      if (refusal !== null) return;
      const why = reader.take(chunk);
      if (why !== null) refuse(why);
    });
    child.on("error", (error) => {
      clearTimeout(deadline);
      reject(error);
    });
    child.on("close", (code) => {
      clearTimeout(deadline);
      if (refusal !== null) reject(new SourceError("too-large", `the source ${refusal}`));
      else resolve(code === 0 ? reader.entries : null);
    });
  });
}

/** Reads entries `MODE TYPE ID SIZE\tPATH\0` from chunks. */
class ListingReader {
  readonly entries: TreeEntry[] = [];
  #count = 0;
  #rest: Buffer = Buffer.alloc(0);

  constructor(readonly limits: SourceLimits) {}

  /** @returns which limit the listing exceeds, as the end of a sentence; null for none */
  take(chunk: Buffer): string | null {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let start = 0;
    for (let end = bytes.indexOf(0); end >= 0; end = bytes.indexOf(0, start)) {
      const why = this.#add(bytes.toString("utf8", start, end), end - start);
      if (why !== null) return why;
      start = end + 1;
    }
    this.#rest = bytes.subarray(start);
    return this.#rest.length > 2 * PATH_BYTES ? tooLong : null;
  }

  #add(line: string, bytes: number): string | null {
    const { entries, folderDepth, files } = this.limits;
    this.#count += 1;
    if (this.#count > entries) return `holds more than ${entries} files and folders`;
    const tab = line.indexOf("\t");
    const path = line.slice(tab + 1);
    if (bytes - tab - 1 > PATH_BYTES) return tooLong;
    const folders = path.split("/").slice(0, -1);
    if (folders.length > folderDepth) return `has folders nested more than ${folderDepth} deep`;
    const [mode = "", type = "", id = "", size = ""] = line.slice(0, tab).split(/ +/);
    if (type === "tree" || !isSourceFile(path) || folders.some(isSkippedFolder)) return null;
    this.entries.push({ mode, id, size: Number(size) || 0, path });
    return this.entries.length > files ? `holds more than ${files} policy files` : null;
  }
}

const tooLong = `has a path of more than ${PATH_BYTES} bytes`;
