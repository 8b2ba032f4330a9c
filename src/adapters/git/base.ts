/** The base of a comparison within one repository: the commit where two commits branched off, and its files. */
import { SourceError } from "../../interfaces/source.js";
import { git, type GitOptions } from "./git.js";
import type { SourceLimits } from "./limits.js";
import { readTree, type Tree } from "./tree.js";

export interface Fork {
  /** The ref as the user wrote it, for messages. */
  readonly ref: string;
  /** The ref's own commit. */
  readonly tip: string;
  /** Null for a folder without a commit. */
  readonly commit: string | null;
}

/**
 * Returns the best common ancestor, as in `git diff TIP...COMMIT`.
 * @throws SourceError `ref-not-found`
 */
export async function findFork(options: GitOptions, { ref, tip, commit }: Fork): Promise<string> {
  const answer =
    commit === null
      ? ""
      : await git(options)
          .raw(["merge-base", "--end-of-options", tip, commit])
          // git has no message for it: it only exits with 1.
          .catch(() => "");
  const base = answer.trim().split("\n").at(-1) ?? "";
  if (/^[0-9a-f]{40,64}$/.test(base)) return base;
  const what = commit === null ? "the uncommitted files" : `commit ${commit.slice(0, 12)}`;
  throw new SourceError(
    "ref-not-found",
    `${ref} and ${what} have no commit in common here; fetch the whole history (in CI set the depth of the clone to 0), or compare with ${ref} itself by --exact`,
  );
}

/**
 * Reads a folder of a commit; a missing folder counts as empty.
 * @throws SourceError
 */
export function readTreeOrNothing(
  options: GitOptions,
  commit: string,
  subPath: string,
  limits: SourceLimits,
): Promise<Tree> {
  return readTree(options, commit, subPath, limits).catch((error: unknown) => {
    if (error instanceof SourceError && error.code === "path-not-found") return { files: [], skipped: [] };
    throw error;
  });
}
