/**
 * FolderSource: a folder as it is on disk, for `ztap plan DIR` and `ztap validate`. RepositorySource: the same folder
 * at one ref of the repository around it, read by object.
 *
 * Paths are relative to `root`: the top of the Git work tree around the folder, so that a file has the same name here,
 * at a ref, and in the leader's mirror; or the folder itself without a work tree. For a path relative to the current
 * folder: `relative(cwd, join(snapshot.root, file.path))`.
 */
import { createHash } from "node:crypto";
import { readdir, readFile, realpath, stat } from "node:fs/promises";
import { dirname, join, posix, relative, resolve, sep } from "node:path";
import { wordsOfCidrFiles } from "../../model/cidr-file.js";
import type { SourceRef } from "../../model/state.js";
import { withReason } from "../../model/system-error.js";
import {
  SourceError,
  type BaseSource,
  type Snapshot,
  type Source,
  type SourceFile,
  type Unread,
} from "../../interfaces/source.js";
import { findFork, readTreeOrNothing } from "./base.js";
import { git, gitVersion } from "./git.js";
import {
  DEFAULT_LIMITS,
  isSkippedFolder,
  isSourceFile,
  refuseTooLarge,
  textFile,
  tooLarge,
  unreadFile,
  type SourceLimits,
} from "./limits.js";
import { meantUrl } from "./location.js";
import { cleanRef } from "./source.js";
import { describeCommit, isRegular, listEntries, readTree, resolveCommit } from "./tree.js";

export interface FolderOptions {
  /** A folder, or one file in it; as the user wrote it. */
  readonly dir: string;
  readonly limits?: SourceLimits;
}

export class FolderSource implements Source {
  readonly location: string;
  readonly #limits: SourceLimits;

  constructor({ dir, limits = DEFAULT_LIMITS }: FolderOptions) {
    this.location = dir;
    this.#limits = limits;
  }

  /** Returns the digest of the files that `fetch` would read. */
  async readTip(): Promise<string> {
    const { files } = await this.fetch();
    return createHash("sha256")
      .update(files.map(({ path, blobId }) => `${blobId} ${path}\n`).join(""))
      .digest("hex");
  }

  /** Reads the folder. It has no other state than its present one: RepositorySource reads commits. */
  async fetch(commit?: string): Promise<Snapshot> {
    if (commit !== undefined) {
      throw new SourceError("ref-not-found", `${this.location} is read as it is on disk, not at a commit`);
    }
    const place = await placeOf(this.location);
    const found = place.file === null ? await findFiles(place.dir, this.location) : await oneFile(place, place.file);
    const named = (absolute: string): string => slashed(relative(place.root, absolute));
    const listed = found.files.map(({ path, size }) => ({ absolute: path, path: named(path), size }));
    refuseTooLarge(listed, this.#limits);
    const files = (await readAll(listed, this.#limits)).sort((a, b) => (a.path < b.path ? -1 : 1));
    return {
      source: await sourceRef(place, files, this.location, this.#limits),
      files,
      skipped: found.skipped.map(named).sort(),
      root: place.root,
    };
  }
}

/** `--ref REF` on a folder of this disk: the same folder (or the one file) in the commit of the ref. */
export class RepositorySource implements Source, BaseSource {
  readonly location: string;
  readonly #ref: string;
  readonly #limits: SourceLimits;

  constructor({ dir, ref, limits = DEFAULT_LIMITS }: FolderOptions & { readonly ref: string }) {
    this.location = dir;
    this.#ref = cleanRevision(ref);
    this.#limits = limits;
  }

  async readTip(): Promise<string> {
    return (await this.#resolve(this.#ref)).commit;
  }

  async fetch(commit?: string): Promise<Snapshot> {
    const at = await this.#resolve(commit === undefined ? this.#ref : cleanRevision(commit));
    return this.#read(at, readTree);
  }

  async fetchBase(commit: string | null, exact: boolean): Promise<Snapshot> {
    const at = await this.#resolve(this.#ref);
    const fork = { ref: this.#ref, tip: at.commit, commit };
    const base = exact ? at.commit : await findFork({ folder: at.top, trustOwner: true }, fork);
    return this.#read({ ...at, commit: base }, readTreeOrNothing);
  }

  async #read({ commit, top, subPath, file }: PlaceInCommit, readFiles: typeof readTree): Promise<Snapshot> {
    const options = { folder: top, trustOwner: true };
    const { files, skipped } = await readFiles(options, commit, subPath, this.#limits);
    const source = await describeCommit(options, commit, this.location);
    if (file === null) return { source, files, skipped, root: top };
    const manifest = files.filter(({ path }) => path === file);
    const named = manifest.flatMap(({ text }) => namedFiles(file, text));
    const inFolder = files.filter(({ path }) => named.includes(path));
    const elsewhere = named.filter((path) => !isBelow(path, subPath));
    const others = await Promise.all(
      [...new Set(elsewhere.map((path) => posix.dirname(path)))].map((folder) =>
        readTreeOrNothing(options, commit, folder === "." ? "" : folder, this.#limits),
      ),
    );
    const outside = others.flatMap((tree) => tree.files.filter(({ path }) => elsewhere.includes(path)));
    return {
      source,
      files: [...manifest, ...inFolder, ...outside],
      skipped: skipped.filter((path) => path === file),
      root: top,
    };
  }

  async #resolve(ref: string): Promise<PlaceInCommit> {
    const { dir, file, top } = await placeOf(this.location);
    if (top === null) {
      // Without git every folder looks like this.
      await gitVersion();
      throw new SourceError(
        "source-not-found",
        `${this.location} is not in a Git work tree, so that there is no ${ref} to read`,
      );
    }
    const commit = await resolveCommit({ folder: top, trustOwner: true }, ref);
    if (commit === null) {
      throw new SourceError(
        "ref-not-found",
        `the repository at ${top} has no commit ${JSON.stringify(ref)}; a branch of a remote has to be fetched first`,
      );
    }
    const named = (path: string): string => slashed(relative(top, path));
    return { commit, top, subPath: named(dir), file: file === null ? null : named(file) };
  }
}

/** The folder or file in a commit; paths are from the top. */
interface PlaceInCommit {
  readonly commit: string;
  readonly top: string;
  readonly subPath: string;
  readonly file: string | null;
}

/** Checks a revision. Here git resolves the name itself, so that `HEAD~2` and short ids work. */
function cleanRevision(ref: string): string {
  const base = ref.replace(/[~^][0-9]*/g, "");
  cleanRef(base);
  return ref;
}

/** The folder or file on disk. */
interface Place {
  readonly dir: string;
  /** The one file that was named; null for a folder. */
  readonly file: string | null;
  /** The top of the work tree; null if there is none. */
  readonly top: string | null;
  /** The folder that paths are relative to. */
  readonly root: string;
}

async function placeOf(location: string): Promise<Place> {
  const absolute = await realpath(resolve(location)).catch((error: unknown) => {
    const reason = withReason(`${location} cannot be read`, error);
    const meant = meantUrl(location);
    const hint = meant === undefined ? "" : `, or did you mean ${meant}?`;
    throw new SourceError("source-not-found", `${reason}${hint}`, { cause: error });
  });
  const info = await stat(absolute);
  if (!info.isDirectory() && !info.isFile())
    throw new SourceError("source-not-found", `${location} is neither a folder nor a file; check the path`);
  const dir = info.isFile() ? dirname(absolute) : absolute;
  const top = await workTreeOf(dir);
  return { dir, file: info.isFile() ? absolute : null, top, root: top ?? dir };
}

/** Returns the top of the work tree around the folder; null if there is none, or no git. */
async function workTreeOf(dir: string): Promise<string | null> {
  const text = await git({ folder: dir, trustOwner: true })
    .raw(["rev-parse", "--show-toplevel"])
    .catch(() => "");
  const top = text.replace(/\n$/, "");
  return top === "" ? null : await realpath(top);
}

interface Found {
  /** Absolute paths. */
  readonly files: readonly { readonly path: string; readonly size: number }[];
  readonly skipped: readonly string[];
}

/** Returns the one file, with the files of CIDRs in the same work tree that its words may name. */
async function oneFile({ root }: Place, path: string): Promise<Found> {
  const { size } = await stat(path);
  const text = size > DEFAULT_LIMITS.fileBytes ? "" : await readFile(path, "utf8").catch(() => "");
  const files = [{ path, size }];
  for (const named of namedFiles(slashed(relative(root, path)), text)) {
    const absolute = join(root, named);
    // No link is followed, in the path neither.
    const info = (await realpath(absolute).catch(() => null)) === absolute ? await stat(absolute) : null;
    if (info?.isFile() === true) files.push({ path: absolute, size: info.size });
  }
  return { files, skipped: [] };
}

/** Returns the paths, below the root, that the words of a manifest may name. */
function namedFiles(manifest: string, text: string): readonly string[] {
  return wordsOfCidrFiles(text)
    .map((word) => posix.join(posix.dirname(manifest), word))
    .filter((path) => !path.startsWith("../") && isSourceFile(path));
}

function isBelow(path: string, folder: string): boolean {
  return folder === "" || path.startsWith(`${folder}/`);
}

/** Symbolic links are never followed. */
async function findFiles(dir: string, shown: string): Promise<Found> {
  const files: { path: string; size: number }[] = [];
  const skipped: string[] = [];
  const folders = [dir];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    const entries = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
      const name = join(shown, relative(dir, folder));
      throw new SourceError("source-denied", withReason(`the folder ${name} cannot be read`, error), { cause: error });
    });
    for (const entry of entries) {
      const path = join(folder, entry.name);
      if (entry.isDirectory() && !isSkippedFolder(entry.name)) folders.push(path);
      else if (isSourceFile(entry.name) && entry.isFile()) files.push({ path, size: (await stat(path)).size });
      else if (isSourceFile(entry.name) && entry.isSymbolicLink()) skipped.push(path);
    }
  }
  return { files, skipped };
}

interface ListedFile {
  readonly absolute: string;
  readonly path: string;
  readonly size: number;
}

async function readAll(files: readonly ListedFile[], limits: SourceLimits): Promise<SourceFile[]> {
  const read: SourceFile[] = [];
  for (let at = 0; at < files.length; at += 64)
    read.push(...(await Promise.all(files.slice(at, at + 64).map((file) => readOne(file, limits)))));
  return read;
}

async function readOne({ absolute, path, size }: ListedFile, limits: SourceLimits): Promise<SourceFile> {
  const large = tooLarge({ path, size }, limits);
  if (large !== undefined) return unreadFile(path, large);
  const bytes = await readFile(absolute).catch((error: unknown): Unread => {
    return { reason: "denied", message: withReason("the file cannot be read", error) };
  });
  if (!(bytes instanceof Uint8Array)) return unreadFile(path, bytes);
  // The id that git would give the file, so that one cache of parsed files serves every source.
  const blobId = createHash("sha1").update(`blob ${bytes.length}\0`).update(bytes).digest("hex");
  return textFile(path, bytes, blobId);
}

function bareRef(location: string): SourceRef {
  return { location, commit: null, dirty: false, author: null, subject: null };
}

/**
 * Returns the commit of the folder, and whether its policy files differ from those that were read, including new ones.
 * The files are compared by blob id and not with `git status`, which runs the filters that a repository configures.
 */
async function sourceRef(
  { dir, file, top }: Place,
  files: readonly SourceFile[],
  location: string,
  limits: SourceLimits,
): Promise<SourceRef> {
  if (top === null) return bareRef(location);
  const options = { folder: top, trustOwner: true };
  const commit = await resolveCommit(options, "HEAD");
  if (commit === null) return { ...bareRef(location), dirty: true };
  const folder = slashed(relative(top, dir));
  const others = file === null ? [] : files.map(({ path }) => posix.dirname(path)).filter((one) => one !== folder);
  const folders = [...new Set([folder, ...others.map((one) => (one === "." ? "" : one))])];
  const listed = await Promise.all(
    folders.map((one) =>
      listEntries(options, commit, one, limits).catch((error: unknown) => {
        if (error instanceof SourceError && error.code === "path-not-found") return [];
        // A commit that exceeds the limits is not compared: the files count as changed.
        if (error instanceof SourceError && error.code === "too-large") return null;
        throw error;
      }),
    ),
  );
  if (listed.includes(null)) return { ...(await describeCommit(options, commit, location)), dirty: true };
  const only = file === null ? null : new Set([slashed(relative(top, file)), ...files.map(({ path }) => path)]);
  const entries = listed.flatMap((one) => one ?? []);
  const committed = entries.filter(isRegular).filter(({ path }) => only === null || only.has(path));
  const ids = new Map(committed.map(({ path, id }) => [path, id]));
  const dirty = ids.size !== files.length || files.some(({ path, blobId }) => ids.get(path) !== blobId);
  return { ...(await describeCommit(options, commit, location)), dirty };
}

function slashed(path: string): string {
  return sep === "/" ? path : path.split(sep).join("/");
}
