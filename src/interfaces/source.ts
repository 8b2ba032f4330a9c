/**
 * Source: the place where the desired state is written: Git, read by object from a mirror clone, or a plain folder. It
 * yields bytes with their names; it knows nothing of policies.
 */
import type { SourceRef } from "../model/state.js";
import type { Unverified } from "../model/status.js";

/** One `*.yaml` or `*.yml` file below the source path, or a `*.cidrs` file, which a NetworkSet may name. */
export interface SourceFile {
  /** Path relative to the root of the repository or folder, with forward slashes. */
  readonly path: string;
  readonly text: string;
  /** Content identity (Git blob id, or a digest), for caching parse results. */
  readonly blobId: string;
  /** The reason why its text is unknown, and empty here: consumers must refuse such a file. Absent if it was read. */
  readonly unread?: Unread;
}

/** A file whose text cannot be read. */
export interface Unread {
  readonly reason: "too-large" | "not-utf8" | "denied";
  /** The problem of the file, as a sentence that begins with "the file". */
  readonly message: string;
}

export interface Snapshot {
  readonly source: SourceRef;
  /** Sorted by path. */
  readonly files: readonly SourceFile[];
  /** Policy files that were not read because they are symbolic links or submodules. Sorted. */
  readonly skipped?: readonly string[];
  /** Absolute folder that the paths are relative to, if the source is on this machine's disk. */
  readonly root?: string;
  /**
   * True if `since` is not among the ancestors of this commit: the history was rewritten. Absent if `since` was not
   * given.
   */
  readonly rewritten?: boolean;
  /**
   * If signatures are required: the first commit after `since` without a signature from an allowed signer; null if all
   * are signed. Absent if they are not required.
   */
  readonly unverified?: Unverified | null;
}

export interface Source {
  /** For display: without credentials. */
  readonly location: string;
  /**
   * Reads the tip of the branch from the remote, and transfers nothing else, so that it is cheap.
   * @throws SourceError
   */
  readTip(): Promise<string>;
  /**
   * Brings the mirror up to date and reads one commit (default: the tip).
   * @param since the commit that was accepted last, to detect rewritten history, and to find the commits that have to
   * be signed
   * @throws SourceError
   */
  fetch(commit?: string, since?: string): Promise<Snapshot>;
}

/** Reads another state of the same repository, for a comparison. */
export interface BaseSource {
  /**
   * Reads the source's ref at the commit where the given one branched off: their best common ancestor, as in `git diff
   * REF...COMMIT`. A folder that did not exist there yet counts as empty.
   * @param commit null for a folder without a commit yet
   * @param exact the ref's own commit, even if it is newer than the common ancestor
   * @throws SourceError `ref-not-found` also if the two have no commit in common
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
