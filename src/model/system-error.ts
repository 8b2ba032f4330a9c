/** What the operating system refused, in words for people, and what to do about it. */
import { getSystemErrorMessage } from "node:util";

const ADVICE: Readonly<Record<string, string>> = {
  ENOENT: "check the path",
  ENOTDIR: "check the path",
  EISDIR: "check the path",
  EEXIST: "choose another path",
  EACCES: "run as a user who may, or choose another path",
  EPERM: "run as a user who may, or choose another path",
  EROFS: "choose another path",
  ENOSPC: "free some space",
};

/** `no such file or directory`; null for what is no error of a system call. */
export function systemReason(error: unknown): string | null {
  if (!(error instanceof Error) || !("syscall" in error) || !("errno" in error)) return null;
  if (typeof error.errno !== "number") return null;
  return "code" in error && error.code === "EISDIR" ? "it is a folder" : getSystemErrorMessage(error.errno);
}

/** The error's message, where a system call failed without the call's own words: `/x: permission denied`. */
export function messageInWords(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause, path }: NodeJS.ErrnoException = error;
  const why = systemReason(error);
  if (why !== null) return path === undefined ? why : `${path}: ${why}`;
  const deeper = cause instanceof Error ? systemReason(cause) : null;
  return cause instanceof Error && deeper !== null ? error.message.replace(cause.message, () => deeper) : error.message;
}

/** `what: why; what to do`. */
export function withReason(what: string, error: unknown): string {
  const reason = systemReason(error);
  if (reason === null) return what;
  const advice = error instanceof Error && "code" in error ? ADVICE[String(error.code)] : undefined;
  return `${what}: ${reason}${advice === undefined ? "" : `; ${advice}`}`;
}
