/**
 * Copies a template of files into a folder for `ztap init`, without overwriting anything, and creates a repository
 * there.
 */
import { constants } from "node:fs";
import { copyFile, readdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { makeFolder } from "../system/folder.js";
import { git, gitFailure } from "./git.js";

export interface Scaffolded {
  /** Files that were created, relative to the folder, sorted. */
  readonly created: readonly string[];
  /** Files that existed already and were not changed, sorted. */
  readonly kept: readonly string[];
  /** Whether a repository was created; false if the folder is in one already. */
  readonly initialized: boolean;
  /** The reason why no repository was created; null if there is nothing to report. */
  readonly problem: string | null;
}

export interface Template {
  readonly from: string;
  /** Path below the target folder. */
  readonly to: string;
  /** Selects files by their path below `from`; all of them if absent. */
  readonly only?: RegExp;
}

export async function scaffold(templates: readonly Template[], dir: string): Promise<Scaffolded> {
  const created: string[] = [];
  const kept: string[] = [];
  for (const template of templates) await copyFiles(template, dir, created, kept);
  const repository = await initialize(dir).then(
    (initialized) => ({ initialized, problem: null }),
    (error: unknown) => {
      // The files are the main result; they can become a repository later.
      const { code, message } = gitFailure(error, `making ${dir} a repository`, "git-failed");
      if (code !== "git-missing") throw error;
      return { initialized: false, problem: message };
    },
  );
  return { created: created.sort(), kept: kept.sort(), ...repository };
}

async function copyFiles({ from, to, only }: Template, dir: string, created: string[], kept: string[]): Promise<void> {
  makeFolder(dir);
  for (const entry of await readdir(from, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const source = join(entry.parentPath, entry.name);
    const below = source.slice(from.length + 1);
    if (only?.test(below) === false) continue;
    const path = join(to, below);
    makeFolder(dirname(join(dir, path)));
    const isNew = await copyFile(source, join(dir, path), constants.COPYFILE_EXCL).then(
      () => true,
      (error: unknown) => {
        if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
        return false;
      },
    );
    (isNew ? created : kept).push(path);
  }
}

async function initialize(dir: string): Promise<boolean> {
  const isInside = await git({ folder: dir, trustOwner: true })
    .raw(["rev-parse", "--is-inside-work-tree"])
    .catch(() => "");
  if (isInside.trim() === "true") return false;
  await git({ folder: dir, trustOwner: true }).raw(["init", "--quiet", "--initial-branch=main"]);
  return await stat(join(dir, ".git")).then(() => true);
}
