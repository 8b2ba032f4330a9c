/** The order of commits. */
import { git, gitFailure, type GitOptions } from "./git.js";

/** Returns whether `old` is part of the history of `commit`. */
export async function isAncestor(options: GitOptions, old: string, commit: string): Promise<boolean> {
  if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(old)) return false;
  // Both a negative answer and a missing old commit mean that it is not part of this history.
  const base = await git(options)
    .raw(["merge-base", "--end-of-options", old, commit])
    .catch(() => "");
  return base.trim() === old;
}

/**
 * Returns the commits of a history that are in none of the others, by any parent, the oldest first.
 * @param bound the largest number; if there are more, the newest are left out
 */
export async function commitsSince(
  options: GitOptions,
  commit: string,
  others: readonly string[],
  bound: number,
): Promise<readonly string[]> {
  const excluded = others.map((id) => `^${id}`);
  const text = await git(options)
    .raw(["rev-list", "--topo-order", "--reverse", `--max-count=${bound}`, "--end-of-options", commit, ...excluded])
    .catch((error: unknown) => {
      throw gitFailure(error, `the history of commit ${commit} could not be read`, "git-failed");
    });
  // An older git prints the option itself.
  return text.split("\n").filter((line) => /^[0-9a-f]{40,64}$/.test(line));
}
