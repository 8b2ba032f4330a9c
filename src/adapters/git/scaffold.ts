/** Copies a template of files into a folder for `ztap init`, without overwriting anything, and makes it a repository. */
import { constants } from "node:fs";
import { copyFile, mkdir, readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { git } from "./git.js";

export interface Scaffolded {
  /** Files that were made, relative to the folder, sorted. */
  readonly created: readonly string[];
  /** Files that were there already and were left as they are, sorted. */
  readonly kept: readonly string[];
  /** Whether a repository was made; false where the folder is in one already. */
  readonly initialized: boolean;
}

export async function scaffold(template: string, dir: string): Promise<Scaffolded> {
  await mkdir(dir, { recursive: true });
  const created: string[] = [];
  const kept: string[] = [];
  for (const entry of await readdir(template, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const source = join(entry.parentPath, entry.name);
    const path = source.slice(template.length + 1);
    await mkdir(dirname(join(dir, path)), { recursive: true });
    const isNew = await copyFile(source, join(dir, path), constants.COPYFILE_EXCL).then(
      () => true,
      (error: unknown) => {
        if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
        return false;
      },
    );
    (isNew ? created : kept).push(path);
  }
  return { created: created.sort(), kept: kept.sort(), initialized: await initialize(dir) };
}

async function initialize(dir: string): Promise<boolean> {
  const isInside = await git({ folder: dir, trustOwner: true })
    .raw(["rev-parse", "--is-inside-work-tree"])
    .catch(() => "");
  if (isInside.trim() === "true") return false;
  await git({ folder: dir, trustOwner: true }).raw(["init", "--quiet", "--initial-branch=main"]);
  return await stat(join(dir, ".git")).then(() => true);
}
