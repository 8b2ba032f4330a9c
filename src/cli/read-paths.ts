/** The files that `validate` is given: folders, single files, or standard input. */
import { createHash } from "node:crypto";
import { relative, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { OperationError } from "../operations/error.js";
import type { SourceFile } from "../ports/source.js";
import { openFolder } from "../wiring.js";

/**
 * Named from where the user stands, so that a diagnostic can be clicked. A file that is named twice is read once.
 * @throws OperationError `not-found` where a folder has none: what was not looked at must not be called valid
 */
export async function readPaths(paths: readonly string[]): Promise<readonly SourceFile[]> {
  const files = new Map<string, SourceFile>();
  for (const path of paths) {
    for (const file of path === "-" ? [await readInput()] : await readFolder(path)) files.set(file.path, file);
  }
  return [...files.values()];
}

async function readInput(): Promise<SourceFile> {
  const content = await text(process.stdin);
  return { path: "<stdin>", text: content, blobId: createHash("sha256").update(content).digest("hex") };
}

async function readFolder(path: string): Promise<readonly SourceFile[]> {
  const { files, root = "", skipped = [] } = await (await openFolder(path)).fetch();
  if (files.length === 0) {
    const links = skipped.length === 0 ? "" : ` (symbolic links are not followed: ${skipped.join(", ")})`;
    throw new OperationError(
      "not-found",
      `nothing to validate: there is no *.yaml or *.yml file in ${path}${links}; check the path`,
    );
  }
  return files.map((file) => ({ ...file, path: relative(process.cwd(), resolve(root, file.path)) }));
}
