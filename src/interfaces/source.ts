/**
 * Source: where the desired state is written. Git, read by object from a mirror clone, or a plain
 * folder. It yields bytes with their names; it knows nothing of policies.
 */
import type { SourceRef } from "../model/state.js";
import type { Unverified } from "../model/status.js";

/** One `*.yaml` or `*.yml` file below the source path. */
export interface SourceFile {
  /** Path relative to the root of the repository or folder, with forward slashes. */
  readonly path: string;
  readonly text: string;
  /** Content identity (Git blob id, or a digest), for caching what was parsed. */
  readonly blobId: string;
  /** Why its text is not known, and is empty here: whoever reads the files has to refuse them. Absent where it was read. */
  readonly unread?: Unread;
}

/** A file of which nothing can be read. */
export interface Unread {
  readonly reason: "too-large" | "not-utf8" | "denied";
  /** What is wrong with the file, as a sentence that begins with "the file". */
  readonly message: string;
}

export interface Snapshot {
  readonly source: SourceRef;
  /** Sorted by path. */
  readonly files: readonly SourceFile[];
  /** Policy files that were not read because they are symbolic links or submodules. Sorted. */
  readonly skipped?: readonly string[];
  /** Absolute folder that the paths are relative to, where the source lies on this machine's disk. */
  readonly root?: string;
  /** True where `since` is not among the ancestors of this commit: the history was rewritten. Absent where it was not asked. */
  readonly rewritten?: boolean;
  /**
   * Where signatures are asked for: the first commit, of those after `since`, that nobody who may has signed; null
   * where all are signed. Absent where they are not asked for.
   */
  readonly unverified?: Unverified | null;
}

export interface Source {
  /** As shown to people: without credentials. */
  readonly location: string;
  /** Cheap: asks the remote for the tip of the branch and transfers nothing else. @throws SourceError */
  readTip(): Promise<string>;
  /**
   * Brings the mirror up to date and reads one commit (default: the tip).
   * @param since the commit that was accepted last, to learn whether history was rewritten, and
   * which commits have to be signed
   * @throws SourceError
   */
  fetch(commit?: string, since?: string): Promise<Snapshot>;
}

/** What another state of the same repository is compared with. */
export interface BaseSource {
  /**
   * Reads the source's ref where the commit parted from it: their best common ancestor, as `git diff REF...COMMIT`
   * takes it. A folder that did not exist there yet held nothing.
   * @param commit null for what has no commit yet
   * @param exact the ref's own commit, whatever came to it since
   * @throws SourceError `ref-not-found` also where the two have no commit in common
   */
  fetchBase(commit: string | null, exact: boolean): Promise<Snapshot>;
}

export type SourceErrorCode =
  | "source-not-found"
  | "source-unreachable"
  | "source-denied"
  | "ref-not-found"
  | "path-not-found"
  | "too-large"
  | "git-missing"
  | "git-failed";

export class SourceError extends Error {
  override readonly name = "SourceError";
  constructor(
    readonly code: SourceErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
