/**
 * Reads one commit by object: its tree's entries and its blobs, as they were committed. No work tree, so no filter, no
 * LFS, no submodule; only regular files, so that no symbolic link is followed.
 */
import { SourceError, type SourceFile } from "../../interfaces/source.js";
import type { SourceRef } from "../../model/state.js";
import { git, gitFailure, type GitOptions } from "./git.js";
import { refuseTooLarge, textFile, tooLarge, unreadFile, type SourceLimits } from "./limits.js";
import { listTree, type TreeEntry } from "./listing.js";

export interface Tree {
  readonly files: readonly SourceFile[];
  /** Policy files that are symbolic links or submodules, and are not read. */
  readonly skipped: readonly string[];
}

/**
 * Returns the sub-path in git's form: no slash at either end, empty for the root.
 * @throws SourceError `path-not-found`
 */
export function cleanSubPath(path: string): string {
  const parts = path.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.includes("..") || /[\0\n\r]/.test(path))
    throw new SourceError("path-not-found", `${JSON.stringify(path)} leads out of the repository`);
  return parts.join("/");
}

/**
 * Reads the files of a commit.
 * @throws SourceError `path-not-found`, `too-large`, `git-failed`
 */
export async function readTree(
  options: GitOptions,
  commit: string,
  subPath: string,
  limits: SourceLimits,
): Promise<Tree> {
  const entries = await listEntries(options, commit, subPath, limits);
  const regular = entries.filter(isRegular);
  refuseTooLarge(regular, limits);
  const blobs = await readBlobs(options, [
    ...new Set(regular.flatMap((entry) => (tooLarge(entry, limits) ? [] : [entry.id]))),
  ]);
  const files = regular.map((entry) => {
    const { id, path } = entry;
    const large = tooLarge(entry, limits);
    if (large !== undefined) return { ...unreadFile(path, large), blobId: id };
    const bytes = blobs.get(id);
    if (bytes === undefined) throw new SourceError("git-failed", `${path} (blob ${id}) is not in the repository`);
    return textFile(path, bytes, id);
  });
  const skipped = entries.filter((entry) => !isRegular(entry)).map(({ path }) => path);
  return { files: files.sort((a, b) => (a.path < b.path ? -1 : 1)), skipped };
}

/**
 * Returns the policy files of a folder in a commit, of any mode, with paths relative to the root of the repository.
 * @throws SourceError `path-not-found`, `too-large`
 */
export async function listEntries(
  options: GitOptions,
  commit: string,
  subPath: string,
  limits: SourceLimits,
): Promise<readonly TreeEntry[]> {
  const entries = await listTree(options, `${commit}:${subPath}`, limits);
  // The commit is known to exist, so that only the path can be wrong.
  if (entries === null)
    throw new SourceError("path-not-found", `commit ${commit.slice(0, 12)} has no folder ${JSON.stringify(subPath)}`);
  return subPath === "" ? entries : entries.map((entry) => ({ ...entry, path: `${subPath}/${entry.path}` }));
}

export function isRegular({ mode }: TreeEntry): boolean {
  return mode === "100644" || mode === "100755";
}

/**
 * Reads blobs from the answers of `cat-file --batch`: `<id> blob <size>
 * <bytes>
 * `, in the order of the requests.
 */
async function readBlobs(options: GitOptions, ids: readonly string[]): Promise<ReadonlyMap<string, Uint8Array>> {
  const blobs = new Map<string, Uint8Array>();
  if (ids.length === 0) return blobs;
  const answer: unknown = await git({ ...options, input: `${ids.join("\n")}\n` })
    .binaryCatFile(["--batch"])
    .catch((error: unknown) => {
      throw gitFailure(error, "the repository's files could not be read", "git-failed");
    });
  if (!Buffer.isBuffer(answer)) throw new SourceError("git-failed", "git gave no bytes for the repository's files");
  for (let at = 0; at < answer.length;) {
    const end = answer.indexOf(10, at);
    const [id = "", type, size] = answer.toString("latin1", at, end).split(" ");
    const length = Number(size);
    if (end < 0 || type !== "blob" || !Number.isSafeInteger(length))
      throw new SourceError("git-failed", `the repository is damaged: blob ${id} cannot be read`);
    blobs.set(id, answer.subarray(end + 1, end + 1 + length));
    at = end + 1 + length + 1;
  }
  return blobs;
}

/** Longest name, address and subject; git fills shorter ones up with spaces. A commit may hold megabytes of each. */
const SHOWN = "%<(1000,trunc)";

/** Returns the commit's author and the first line of its message. */
export async function describeCommit(options: GitOptions, commit: string, location: string): Promise<SourceRef> {
  const text = await git(options)
    .raw([
      "log",
      "-1",
      "--no-show-signature",
      "--no-patch",
      `--format=%H%x00${SHOWN}%an%x00${SHOWN}%ae%x00${SHOWN}%s`,
      "--end-of-options",
      commit,
    ])
    .catch((error: unknown) => {
      throw gitFailure(error, `commit ${commit} could not be read`, "git-failed");
    });
  const [id = commit, name = "", address = "", subject = ""] = text.split("\0").map((field) => field.trim());
  return { location, commit: id, dirty: false, author: `${name} <${address}>`, subject };
}

/** Returns the full id of the commit of a name in this repository; null if there is none. */
export async function resolveCommit(options: GitOptions, name: string): Promise<string | null> {
  if (name === "" || name.startsWith("-")) return null;
  const text = await git(options)
    .raw(["rev-parse", "--verify", "--quiet", "--end-of-options", `${name}^{commit}`])
    .catch(() => "");
  // An older git prints the option itself.
  const id = text.trim().split("\n").at(-1) ?? "";
  return /^[0-9a-f]{40,64}$/.test(id) ? id : null;
}
