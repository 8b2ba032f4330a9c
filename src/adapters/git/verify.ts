/**
 * Verifies the signatures of commits, as `git verify-commit` checks them against the allowed signers alone. Only the
 * key counts: the holder of the key can write any author and committer.
 */
import { execFile } from "node:child_process";
import type { Unverified } from "../../model/status.js";
import { SourceError } from "../../interfaces/source.js";
import { configArguments, environment, type GitOptions } from "./git.js";
import { commitsSince, isAncestor } from "./history.js";
import type { Location } from "./location.js";
import { NO_PROGRAM, SignersError, withSigners, type SignerConfig, type SignerOptions } from "./signers.js";
import { describeCommit } from "./tree.js";

/** The largest number of commits that one poll checks. */
const MAX_COMMITS = 10_000;
/** Number of commits that one git process checks; only if one of them is bad, each is checked separately. */
const BATCH = 64;
const BATCH_MS = 5 * 60_000;

export interface Verification {
  /** Options of the mirror. */
  readonly options: GitOptions;
  readonly location: Location;
  /** See `withSigners`. */
  readonly scratch: string;
  readonly signers: SignerOptions;
}

/**
 * Returns the first commit without a signature from an allowed signer, of all that `tip` brings, by any parent; null if
 * all are signed.
 *  - after an accepted commit in the history of `tip`: all commits that are not in its history;
 *  - else all that are not in the history of `since`;
 *  - without either: `tip` alone. A `tip` that is no descendant of `since` is refused in any case.
 */
export async function verifyCommits(
  { options, location, scratch, signers }: Verification,
  { tip, accepted }: { readonly tip: string; readonly accepted: string | null },
): Promise<Unverified | null> {
  const refuse = async (commit: string, problem: string): Promise<Unverified> => {
    const { author } = await describeCommit(options, commit, location.shown);
    return { commit, author: author ?? "nobody", problem };
  };
  const { since } = signers;
  if (since !== null && !(await isAncestor(options, since, tip)))
    return refuse(tip, `it is no descendant of source.verify.since (${since.slice(0, 12)})`);
  const bases = [accepted, since].filter((base) => base !== null);
  const commits = bases.length === 0 ? [tip] : await commitsSince(options, tip, bases, MAX_COMMITS + 1);
  if (commits.length > MAX_COMMITS)
    return refuse(
      tip,
      `more than ${MAX_COMMITS} commits would have to be checked; set source.verify.since to a later one`,
    );
  if (commits.length === 0) return null;
  try {
    return await withSigners(signers, location, scratch, async (config) => {
      const bad = await findBad(options, config, commits);
      return bad === null ? null : refuse(bad.commit, bad.problem);
    });
  } catch (error) {
    if (error instanceof SignersError) return refuse(tip, error.message);
    throw error;
  }
}

interface BadCommit {
  readonly commit: string;
  readonly problem: string;
}

async function findBad(
  options: GitOptions,
  config: SignerConfig,
  commits: readonly string[],
): Promise<BadCommit | null> {
  for (let at = 0; at < commits.length; at += BATCH) {
    const batch = commits.slice(at, at + BATCH);
    if ((await check(options, config, batch)) === null) continue;
    for (const commit of batch) {
      const said = await check(options, config, [commit]);
      if (said !== null) return { commit, problem: problemOf(said) };
    }
  }
  return null;
}

/**
 * Returns git's output about commits that are not all signed; null if they are.
 * @throws SourceError if git was killed
 */
function check(options: GitOptions, config: SignerConfig, commits: readonly string[]): Promise<string | null> {
  const settings = config.settings.flatMap((setting) => ["-c", setting]);
  const args = [...configArguments(options), ...settings, "verify-commit", "--raw", ...commits];
  const env = { ...environment({ ...options, globalConfig: "/dev/null" }), ...config.environment };
  return new Promise((resolve, reject) => {
    execFile("git", args, { cwd: options.folder, env, timeout: BATCH_MS }, (error, _, said) => {
      if (error === null) resolve(null);
      else if (typeof error.code === "number") resolve(said);
      else
        reject(
          new SourceError("git-failed", "signatures could not be checked: git did not end by itself", { cause: error }),
        );
    });
  });
}

const PROBLEMS: readonly (readonly [RegExp, (key: string) => string])[] = [
  [/^\[GNUPG:\] NO_PUBKEY (\w+)/m, (key) => `it is signed with the OpenPGP key ${key}, which is not an allowed signer`],
  [/^\[GNUPG:\] REVKEYSIG (\w+)/m, (key) => `it is signed with the OpenPGP key ${key}, which was revoked`],
  [/^\[GNUPG:\] EXPKEYSIG (\w+)/m, (key) => `it is signed with the OpenPGP key ${key}, which has expired`],
  [/^\[GNUPG:\] EXPSIG (\w+)/m, (key) => `its signature with the OpenPGP key ${key} has expired`],
  [/^\[GNUPG:\] BADSIG (\w+)/m, (key) => `its signature with the OpenPGP key ${key} is not of this commit`],
  [
    /^Good "git" signature with \S+ key (\S+)/m,
    (key) => `it is signed with the SSH key ${key}, which is not an allowed signer`,
  ],
];

function problemOf(said: string): string {
  if (said.trim() === "") return "it is not signed";
  for (const [pattern, describe] of PROBLEMS) {
    const key = pattern.exec(said)?.[1];
    if (key !== undefined) return describe(key);
  }
  if (said.includes(NO_PROGRAM)) return "its kind of signature has no signers in source.verify";
  return "its signature is not valid";
}
