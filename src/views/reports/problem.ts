/** What the formats for machines have in common: how a diagnostic is named and put in one text. */
import { CODES } from "../../manifest/codes.js";
import type { Diagnostic } from "../../model/diagnostic.js";
import { printableLine } from "../../model/printable.js";

/** The name of what is no file; nothing can be shown beside it. */
export const STDIN = "<stdin>";

const TITLES: ReadonlyMap<string, string> = new Map(Object.values(CODES).map(({ code, title }) => [code, title]));

/** `ZT2003 unknown field`. */
export function titleOf(code: string): string {
  const title = TITLES.get(code);
  return title === undefined ? code : `${code} ${title}`;
}

/** What is wrong, and on lines of their own where, what is wanted and how to mend it. */
export function describeProblem({ message, path, wanted, fix }: Diagnostic): string {
  const notes = [
    ["at", path === "" ? undefined : path],
    ["wanted", wanted],
    ["fix", fix],
  ] as const;
  const lines = notes.flatMap(([name, text]) => (text === undefined ? [] : [`${name}: ${printableLine(text)}`]));
  return [printableLine(message), ...lines].join("\n");
}
