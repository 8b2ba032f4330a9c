/** Asks for a text on the terminal, with an answer that Enter gives. */
import { createInterface } from "node:readline/promises";
import { OperationError } from "../model/operation-error.js";

/**
 * Asks the questions, one after the other.
 * @returns the answers; the proposed one for an empty line
 * @throws OperationError `interrupted` for Ctrl-C, or the end of input
 */
export async function ask<K extends string>(
  questions: readonly { readonly key: K; readonly text: string; readonly proposed: string }[],
): Promise<ReadonlyMap<K, string>> {
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  const closed = new Promise<null>((resolve) => prompt.once("close", () => resolve(null)));
  const answers = new Map<K, string>();
  try {
    for (const { key, text, proposed } of questions) {
      const asked = prompt.question(`${text} [${proposed === "" ? "none" : proposed}]: `).catch(() => null);
      const answer = await Promise.race([asked, closed]);
      if (answer === null) throw new OperationError("interrupted", "interrupted; nothing was changed");
      answers.set(key, answer.trim() === "" ? proposed : answer.trim());
    }
  } finally {
    prompt.close();
  }
  return answers;
}
