/** Where two commits parted, and what stood there: the base of a comparison within one repository. */
import { SourceError } from "../../interfaces/source.js";
import { git, type GitOptions } from "./git.js";
import type { SourceLimits } from "./limits.js";
import { readTree, type Tree } from "./tree.js";

export interface Fork {
  /** What the user called the ref, for messages. */
  readonly ref: string;
  /** The ref's own commit. */
  readonly tip: string;
  /** Null for what has no commit yet. */
  readonly commit: string | null;
}

/** The best common ancestor, as `git diff TIP...COMMIT` takes it. @throws SourceError `ref-not-found` */
export async function findFork(options: GitOptions, { ref, tip, commit }: Fork): Promise<string> {
  const answer =
    commit === null
      ? ""
      : await git(options)
          .raw(["merge-base", "--end-of-options", tip, commit])
          // git has no words for it: it only exits 1.
          .catch(() => "");
  const base = answer.trim().split("\n").at(-1) ?? "";
  if (/^[0-9a-f]{40,64}$/.test(base)) return base;
  const what = commit === null ? "what is not committed yet" : `commit ${commit.slice(0, 12)}`;
  throw new SourceError(
    "ref-not-found",
    `${ref} and ${what} have no commit in common here; fetch the whole history (a shallow clone has not: in CI set its depth to 0), or compare with ${ref} itself by --exact`,
  );
}

/** A folder that a commit does not have held nothing there. @throws SourceError */
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
