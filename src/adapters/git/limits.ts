/** Limits of a source, so that a mistaken push cannot exhaust a host. */
import { isCidrFile } from "../../model/cidr-file.js";
import { SourceError, type SourceFile, type Unread } from "../../interfaces/source.js";

export interface SourceLimits {
  readonly fileBytes: number;
  /** The same for a file of CIDRs. */
  readonly cidrFileBytes: number;
  readonly files: number;
  readonly totalBytes: number;
  /** Number of all files and folders of a commit, below the source path. */
  readonly entries: number;
  /** How deep the folders of a commit may be nested. */
  readonly folderDepth: number;
}

const MIB = 1024 * 1024;
export const DEFAULT_LIMITS: SourceLimits = {
  fileBytes: MIB,
  cidrFileBytes: 8 * MIB,
  files: 20_000,
  totalBytes: 64 * MIB,
  entries: 200_000,
  folderDepth: 64,
};

/**
 * Returns whether a file is read. Names that begin with a dot belong to other tools, as in a shell's `*.yaml`:
 * .gitlab-ci.yml, .pre-commit-config.yaml.
 */
function isPolicyFile(path: string): boolean {
  return /(^|\/)[^./][^/]*\.ya?ml$/.test(path);
}

/** Returns whether a file is part of the source: a policy file, or a file of CIDRs that a NetworkSet may name. */
export function isSourceFile(path: string): boolean {
  return isPolicyFile(path) || (isCidrFile(path) && /(^|\/)[^./][^/]*$/.test(path));
}

/** Returns whether a folder on disk is skipped; commits use the same rule. */
export function isSkippedFolder(name: string): boolean {
  return name.startsWith(".") || name === "node_modules";
}

/**
 * Checks the limits of all files together. A file that is too large by itself is not read, and does not count.
 * @throws SourceError `too-large`
 */
export function refuseTooLarge(
  files: readonly { readonly path: string; readonly size: number }[],
  limits: SourceLimits,
): void {
  if (files.length > limits.files)
    throw new SourceError(
      "too-large",
      `the source holds ${files.length} policy files; at most ${limits.files} are read`,
    );
  const total = files.reduce((sum, file) => sum + (file.size > largest(file.path, limits) ? 0 : file.size), 0);
  if (total > limits.totalBytes)
    throw new SourceError(
      "too-large",
      `the source's policy files have ${total} bytes together; at most ${limits.totalBytes} are read`,
    );
}

/** Returns why a file of this size is not read; undefined if it is. */
export function tooLarge(
  { path, size }: { readonly path: string; readonly size: number },
  limits: SourceLimits,
): Unread | undefined {
  const most = largest(path, limits);
  const what = isCidrFile(path) ? "a file of CIDRs" : "a policy file";
  return size > most
    ? { reason: "too-large", message: `the file has ${size} bytes; ${what} may have ${most}` }
    : undefined;
}

function largest(path: string, { fileBytes, cidrFileBytes }: SourceLimits): number {
  return isCidrFile(path) ? cidrFileBytes : fileBytes;
}

export function unreadFile(path: string, unread: Unread): SourceFile {
  return { path, text: "", blobId: "", unread };
}

export function textFile(path: string, bytes: Uint8Array, blobId: string): SourceFile {
  try {
    return { path, text: new TextDecoder("utf-8", { fatal: true }).decode(bytes), blobId };
  } catch {
    return { ...unreadFile(path, { reason: "not-utf8", message: "the file is not UTF-8 text" }), blobId };
  }
}
