/** Asks the operator for confirmation; without a terminal, the answer is no. */
import { userInfo, hostname } from "node:os";
import { createInterface } from "node:readline/promises";
import { OperationError } from "../model/operation-error.js";

/**
 * Asks the question.
 * @param done participle of the action, for the refusal
 * @throws OperationError `not-confirmed`, `interrupted` for Ctrl-C
 */
export async function confirm(question: string, done: string): Promise<void> {
  if (!process.stdin.isTTY) {
    throw new OperationError(
      "not-confirmed",
      "there is no terminal for the question; use --auto-approve. Nothing was changed",
    );
  }
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  const interruption = new AbortController();
  prompt.once("SIGINT", () => {
    interruption.abort();
    prompt.close();
  });
  // Ctrl-C and the end of input close the prompt; depending on its version, Node.js also rejects the question.
  const closed = new Promise<null>((resolve) => prompt.once("close", () => resolve(null)));
  const asked = prompt.question(`\n${question} Only "yes" is accepted: `).catch(() => null);
  const answer = await Promise.race([asked, closed]);
  prompt.close();
  // The next message must not continue the question's line.
  if (answer === null) process.stderr.write("\n");
  if (interruption.signal.aborted)
    throw new OperationError("interrupted", `not ${done}: interrupted; nothing was changed`);
  if (answer?.trim() !== "yes")
    throw new OperationError("not-confirmed", `not ${done}: not confirmed; nothing was changed`);
}

/** Returns `user@host`, for the record of a revision: the user who called sudo, if there is one. */
export function operatorName(): string {
  return `${process.env["SUDO_USER"] ?? ownName()}@${hostname()}`;
}

/** Returns the user's name; its number if the user id has no entry in the password file, as in containers. */
function ownName(): string {
  try {
    return userInfo().username;
  } catch {
    return String(process.geteuid?.() ?? "unknown");
  }
}
