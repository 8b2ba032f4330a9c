/** Asks for a text on the terminal: with an answer that Enter gives, or a secret, which is not shown. */
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { printableLine } from "../model/printable.js";
import { OperationError } from "../model/operation-error.js";

export interface TextQuestion<K extends string> {
  readonly key: K;
  readonly text: string;
  readonly proposed: string;
  /** Returns why an answer cannot be taken; null if it can. */
  readonly problemOf: (answer: string) => string | null;
}

/**
 * Asks the questions, one after the other; one whose answer cannot be taken again, with the reason.
 * @returns the answers; the proposed one for an empty line
 * @throws OperationError `interrupted` for Ctrl-C, or the end of input
 */
export async function ask<K extends string>(questions: readonly TextQuestion<K>[]): Promise<ReadonlyMap<K, string>> {
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  const closed = new Promise<null>((resolve) => prompt.once("close", () => resolve(null)));
  const answers = new Map<K, string>();
  try {
    for (const { key, text, proposed, problemOf } of questions) {
      for (let isTaken = false; !isTaken;) {
        const asked = prompt.question(`${text} [${proposed === "" ? "none" : proposed}]: `).catch(() => null);
        const answer = await Promise.race([asked, closed]);
        if (answer === null) {
          // The next message must not continue the question's line.
          process.stderr.write("\n");
          throw new OperationError("interrupted", "interrupted; nothing was changed");
        }
        const value = answer.trim() === "" ? proposed : answer.trim();
        const problem = value === "" ? null : problemOf(value);
        isTaken = problem === null;
        if (isTaken) answers.set(key, value);
        else process.stderr.write(`  ${printableLine(problem ?? "")}\n`);
      }
    }
  } finally {
    prompt.close();
  }
  return answers;
}

/**
 * Asks for a secret: what is typed is not shown.
 * @throws OperationError `interrupted` for Ctrl-C, or the end of input
 */
export async function askSecret(question: string): Promise<string> {
  // As a terminal, the interface turns off the echo of the real one, and writes it here.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const prompt = createInterface({ input: process.stdin, output: nowhere, terminal: true, historySize: 0 });
  // Not before: what is typed at once would be shown.
  process.stderr.write(`${question}: `);
  const closed = new Promise<null>((resolve) => prompt.once("close", () => resolve(null)));
  try {
    const answer = await Promise.race([prompt.question("").catch(() => null), closed]);
    if (answer === null) throw new OperationError("interrupted", "interrupted; nothing was changed");
    return answer.trim();
  } finally {
    prompt.close();
    process.stderr.write("\n");
  }
}
