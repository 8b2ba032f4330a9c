/** Errors of the operating system in words for people, with advice. */
import { getSystemErrorMessage } from "node:util";

const ADVICE: Readonly<Record<string, string>> = {
  ENOENT: "check the path",
  ENOTDIR: "check the path",
  EISDIR: "check the path",
  EEXIST: "choose another path",
  EACCES: "run as a user with permission, or choose another path",
  EPERM: "run as a user with permission, or choose another path",
  EROFS: "choose another path",
  ENOSPC: "free some space",
};

/** Returns the reason, such as `no such file or directory`; null if the error is not from a system call. */
export function systemReason(error: unknown): string | null {
  if (!(error instanceof Error) || !("syscall" in error) || !("errno" in error)) return null;
  if (typeof error.errno !== "number") return null;
  return "code" in error && error.code === "EISDIR" ? "it is a folder" : getSystemErrorMessage(error.errno);
}

/** Returns the error's message; for a failed system call the plain words for it: `/x: permission denied`. */
export function messageInWords(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause, path }: NodeJS.ErrnoException = error;
  const why = systemReason(error);
  if (why !== null) return path === undefined ? why : `${path}: ${why}`;
  const deeper = cause instanceof Error ? systemReason(cause) : null;
  return cause instanceof Error && deeper !== null ? error.message.replace(cause.message, () => deeper) : error.message;
}

/** Returns `what: why; advice`. */
export function withReason(what: string, error: unknown): string {
  const reason = systemReason(error);
  if (reason === null) return what;
  const advice = error instanceof Error && "code" in error ? ADVICE[String(error.code)] : undefined;
  return `${what}: ${reason}${advice === undefined ? "" : `; ${advice}`}`;
}
