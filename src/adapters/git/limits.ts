/** Bounds of what a source may bring in, so that a mistaken push cannot exhaust a host. */
import { SourceError } from "../../ports/source.js";

export interface SourceLimits {
  readonly fileBytes: number;
  readonly files: number;
  readonly totalBytes: number;
}

const MIB = 1024 * 1024;
export const DEFAULT_LIMITS: SourceLimits = { fileBytes: MIB, files: 20_000, totalBytes: 64 * MIB };

/** Only these are read. A name that begins with a dot is another tool's, as a shell's `*.yaml` has it: .gitlab-ci.yml, .pre-commit-config.yaml. */
export function isPolicyFile(path: string): boolean {
  return /(^|\/)[^./][^/]*\.ya?ml$/.test(path);
}

/** The folders that a folder on disk may hold beside policies; a commit holds them no more than others. */
export function isSkippedFolder(name: string): boolean {
  return name.startsWith(".") || name === "node_modules";
}

/** @throws SourceError `too-large` */
export function refuseTooLarge(
  files: readonly { readonly path: string; readonly size: number }[],
  limits: SourceLimits,
): void {
  if (files.length > limits.files)
    throw new SourceError(
      "too-large",
      `the source holds ${files.length} policy files; at most ${limits.files} are read`,
    );
  const large = files.find((file) => file.size > limits.fileBytes);
  if (large !== undefined)
    throw new SourceError(
      "too-large",
      `${large.path} has ${large.size} bytes; a policy file may have ${limits.fileBytes}`,
    );
  const total = files.reduce((sum, file) => sum + file.size, 0);
  if (total > limits.totalBytes)
    throw new SourceError(
      "too-large",
      `the source's policy files have ${total} bytes together; at most ${limits.totalBytes} are read`,
    );
}

/** @throws SourceError `not-utf8` */
export function decodeText(bytes: Uint8Array, path: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    throw new SourceError("not-utf8", `${path} is not UTF-8 text`, { cause: error });
  }
}
