/** Asks the operator; without a terminal to ask on, the answer is no. */
import { userInfo, hostname } from "node:os";
import { createInterface } from "node:readline/promises";
import { OperationError } from "../operations/error.js";

/** @throws OperationError `not-confirmed` */
export async function confirm(question: string): Promise<void> {
  if (!process.stdin.isTTY) {
    throw new OperationError(
      "not-confirmed",
      "there is no terminal to ask on; use --auto-approve. Nothing was changed",
    );
  }
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const interrupted = new Promise<string>((resolve) => prompt.once("close", () => resolve("")));
    const answer = await Promise.race([prompt.question(`\n${question} Only "yes" is accepted: `), interrupted]);
    if (answer.trim() !== "yes") throw new OperationError("not-confirmed", "not confirmed; nothing was changed");
  } finally {
    prompt.close();
  }
}

/** `user@host`, for the record of a revision. The name that sudo was called under, where there is one. */
export function operatorName(): string {
  const name = process.env["SUDO_USER"] ?? userInfo().username;
  return `${name}@${hostname()}`;
}
