/**
 * GitSource: a repository at a path or a URL, read by object from a mirror in the cache.
 */
import { resolve } from "node:path";
import { SourceError, type BaseSource, type Snapshot, type Source } from "../../interfaces/source.js";
import { findFork, readTreeOrNothing } from "./base.js";
import { isAncestor } from "./history.js";
import { DEFAULT_LIMITS, type SourceLimits } from "./limits.js";
import { parseLocation, type Location } from "./location.js";
import { Mirror } from "./mirror.js";
import type { SignerOptions } from "./signers.js";
import { cleanSubPath, describeCommit, readTree, resolveCommit } from "./tree.js";
import { verifyCommits } from "./verify.js";

export interface GitSourceOptions {
  /** A path, or an https, ssh or file URL; it may contain credentials, which are never shown. */
  readonly location: string;
  /** Branch, tag, full ref name or full commit id; default: the remote's HEAD. */
  readonly ref?: string;
  /** Folder in the repository; default: all of it. */
  readonly path?: string;
  /** Folder for mirrors; created if missing, for its owner only. */
  readonly cacheDir: string;
  /** How long the remote may be silent, in milliseconds; default: a minute. */
  readonly silenceMs?: number;
  readonly limits?: SourceLimits;
  /** The allowed signers of every commit; absent if signatures are not required. */
  readonly signers?: SignerOptions;
  /** Aborts the current request to the remote. */
  readonly signal?: AbortSignal;
}

/** The ref as found at the remote, and its object. */
interface RemoteTip {
  readonly name: string;
  readonly id: string;
  readonly commit: string;
}

/** How often a read is attempted. */
const ATTEMPTS = 3;
const COMMIT_ID = /^([0-9a-f]{40}|[0-9a-f]{64})$/;

export class GitSource implements Source, BaseSource {
  readonly location: string;
  readonly #mirror: Mirror;
  readonly #ref: string;
  readonly #path: string;
  readonly #limits: SourceLimits;
  readonly #signers: SignerOptions | null;
  readonly #parsed: Location;
  readonly #cacheDir: string;

  /**
   * Creates the source.
   * @throws SourceError `source-not-found`, `ref-not-found`, `path-not-found` for names that can never be valid
   */
  constructor(options: GitSourceOptions) {
    const {
      location,
      ref = "HEAD",
      path = "",
      cacheDir,
      silenceMs,
      limits = DEFAULT_LIMITS,
      signers = null,
      signal,
    } = options;
    const parsed = parseLocation(location);
    this.location = parsed.shown;
    this.#mirror = new Mirror(parsed, resolve(cacheDir), { silenceMs, signal });
    this.#ref = cleanRef(ref);
    this.#path = cleanSubPath(path);
    this.#limits = limits;
    this.#signers = signers;
    this.#parsed = parsed;
    this.#cacheDir = resolve(cacheDir);
  }

  async readTip(): Promise<string> {
    return COMMIT_ID.test(this.#ref) ? this.#ref : (await this.#findTip()).commit;
  }

  async fetch(commit?: string, since?: string): Promise<Snapshot> {
    const wanted = commit ?? (COMMIT_ID.test(this.#ref) ? this.#ref : undefined);
    return this.#retry(async () =>
      this.#read(wanted === undefined ? await this.#fetchTip() : await this.#fetchCommit(wanted), since),
    );
  }

  async fetchBase(commit: string | null, exact: boolean): Promise<Snapshot> {
    return this.#retry(async () => {
      const options = this.#mirror.options;
      const tip = COMMIT_ID.test(this.#ref) ? await this.#fetchCommit(this.#ref) : await this.#fetchTip();
      if (commit !== null) await this.#fetchCommit(commit);
      const base = exact ? tip : await findFork(options, { ref: this.#ref, tip, commit });
      const { files, skipped } = await readTreeOrNothing(options, base, this.#path, this.#limits);
      return { source: await describeCommit(options, base, this.location), files, skipped };
    });
  }

  async #retry(read: () => Promise<Snapshot>): Promise<Snapshot> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await read();
      } catch (error) {
        // Objects that were just fetched cannot be read: either another process has replaced the mirror at that moment,
        // and the next attempt succeeds; or the mirror is damaged, and is created again.
        if (!(error instanceof SourceError) || error.code !== "git-failed" || attempt === ATTEMPTS) throw error;
        if (attempt === ATTEMPTS - 1) await this.#mirror.rebuild(this.#everything);
      }
    }
  }

  async #read(commit: string, since: string | undefined): Promise<Snapshot> {
    const options = this.#mirror.options;
    const source = await describeCommit(options, commit, this.location);
    const follows = since !== undefined && (await isAncestor(options, since, commit));
    const history = since === undefined ? {} : { rewritten: !follows };
    if (this.#signers === null) return { source, ...(await this.#readFiles(commit)), ...history };
    const verification = { options, location: this.#parsed, scratch: this.#cacheDir, signers: this.#signers };
    const unverified = await verifyCommits(verification, { tip: commit, accepted: follows ? since : null });
    // Files of an unverified commit are not read.
    if (unverified !== null) return { source, files: [], ...history, unverified };
    return { source, ...(await this.#readFiles(commit)), ...history, unverified };
  }

  async #readFiles(commit: string): Promise<Pick<Snapshot, "files" | "skipped">> {
    return readTree(this.#mirror.options, commit, this.#path, this.#limits);
  }

  /**
   * Fetches the tip.
   * @returns its commit, which is in the mirror
   */
  async #fetchTip(): Promise<string> {
    const { name, commit } = await this.#findTip();
    if ((await resolveCommit(this.#mirror.options, commit).catch(() => null)) === commit) return commit;
    // HEAD has no place of its own among the mirror's refs.
    const kept = name === "HEAD" ? "refs/ztap/HEAD" : name;
    await this.#mirror.fetch([`+${name}:${kept}`]);
    const fetched = await resolveCommit(this.#mirror.options, kept);
    if (fetched === null) throw new SourceError("git-failed", `${this.#ref} of ${this.location} is no commit`);
    return fetched;
  }

  async #fetchCommit(commit: string): Promise<string> {
    if (!COMMIT_ID.test(commit))
      throw new SourceError("ref-not-found", `${JSON.stringify(commit)} is not a full commit id`);
    const has = async (): Promise<boolean> =>
      (await resolveCommit(this.#mirror.options, commit).catch(() => null)) === commit;
    if (await has()) return commit;
    await this.#mirror.fetch(this.#everything);
    if (!(await has()))
      throw new SourceError("ref-not-found", `commit ${commit} is in no branch or tag of ${this.location}`);
    return commit;
  }

  get #everything(): readonly string[] {
    return ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"];
  }

  async #findTip(): Promise<RemoteTip> {
    const candidates = refCandidates(this.#ref);
    const found = await this.#mirror.listRemote(candidates.flatMap((name) => [name, `${name}^{}`]));
    for (const name of candidates) {
      const id = found.get(name);
      if (id !== undefined) return { name, id, commit: found.get(`${name}^{}`) ?? id };
    }
    const what =
      this.#ref === "HEAD"
        ? "has no commit on its default branch"
        : `has no branch or tag ${JSON.stringify(this.#ref)}`;
    throw new SourceError("ref-not-found", `${this.location} ${what}`);
  }
}

/**
 * Checks a name.
 * @throws SourceError `ref-not-found` for a name that git itself would refuse, or take for an option
 */
export function cleanRef(ref: string): string {
  const bad =
    ref === "" ||
    ref.startsWith("-") ||
    ref.endsWith("/") ||
    ref.includes("..") ||
    ref.includes("@{") ||
    /[\0-\x20\x7f~^:?*[\\]/.test(ref);
  if (bad)
    throw new SourceError("ref-not-found", `${JSON.stringify(ref)} cannot be the name of a branch, tag or commit`);
  return ref;
}

function refCandidates(ref: string): readonly string[] {
  return ref === "HEAD" || ref.startsWith("refs/") ? [ref] : [`refs/heads/${ref}`, `refs/tags/${ref}`];
}
