/** Reads the files of `validate`: folders, single files, or standard input. */
import { createHash } from "node:crypto";
import { relative, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { OperationError } from "../model/operation-error.js";
import type { Snapshot, SourceFile } from "../interfaces/source.js";
import { openFolder } from "../wiring/source.js";

interface Found {
  readonly files: readonly FoundFile[];
  /** Absolute paths of policy files that are symbolic links. */
  readonly skipped: readonly string[];
}

interface FoundFile extends SourceFile {
  /** Absolute; null for standard input. */
  readonly place: string | null;
  /** The top of the Git work tree that contains it; null if there is none. */
  readonly top: string | null;
}

/**
 * Reads the files; one that is named twice is read once.
 * @param from the base of the shown names: the current folder, so that a diagnostic can be clicked; or the top of the
 * work tree, as a forge names files (files of several work trees, or of none, have no such name)
 * @throws OperationError `not-found` if a folder has none: unchecked input must not be called valid
 */
export async function readPaths(
  paths: readonly string[],
  from: "here" | "top" = "here",
): Promise<Pick<Snapshot, "files"> & { readonly skipped: readonly string[] }> {
  const files = new Map<string, FoundFile>();
  const links = new Set<string>();
  for (const path of paths) {
    const found = path === "-" ? { files: [await readInput()], skipped: [] } : await readFolder(path);
    for (const file of found.files) files.set(file.place ?? file.path, file);
    for (const link of found.skipped) links.add(link);
  }
  const tops = new Set([...files.values()].filter(({ place }) => place !== null).map(({ top }) => top));
  const [top = null] = tops;
  const start = from === "top" && tops.size === 1 && top !== null ? top : process.cwd();
  return {
    files: [...files.values()].map(({ place, path, text, blobId, unread }) => ({
      path: place === null ? path : relative(start, place),
      text,
      blobId,
      ...(unread === undefined ? {} : { unread }),
    })),
    skipped: [...links].map((link) => relative(start, link)),
  };
}

async function readInput(): Promise<FoundFile> {
  const content = await text(process.stdin);
  const blobId = createHash("sha256").update(content).digest("hex");
  return { path: "<stdin>", text: content, blobId, place: null, top: null };
}

async function readFolder(path: string): Promise<Found> {
  const { files, source, root = "", skipped = [] } = await (await openFolder(path)).fetch();
  if (files.length === 0) {
    const links = skipped.length === 0 ? "" : ` (symbolic links are not followed: ${skipped.join(", ")})`;
    throw new OperationError(
      "not-found",
      `nothing to validate: there is no *.yaml or *.yml file in ${path}${links}; check the path`,
    );
  }
  // A work tree without a commit counts as changed.
  const top = source.commit !== null || source.dirty ? root : null;
  return {
    files: files.map((file) => ({ ...file, place: resolve(root, file.path), top })),
    skipped: skipped.map((link) => resolve(root, link)),
  };
}
