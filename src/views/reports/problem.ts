/** The common parts of the formats for machines: the title of a diagnostic, and its text. */
import { CODES } from "../../manifest/codes.js";
import type { Diagnostic } from "../../model/diagnostic.js";
import { printableLine } from "../../model/printable.js";

/** The file name of standard input, which has no lines to show. */
export const STDIN = "<stdin>";

const TITLES: ReadonlyMap<string, string> = new Map(Object.values(CODES).map(({ code, title }) => [code, title]));

/** Returns a title such as `ZT2003 unknown field`. */
export function titleOf(code: string): string {
  const title = TITLES.get(code);
  return title === undefined ? code : `${code} ${title}`;
}

/** Returns the message, and on separate lines the field, the expected value and the fix. */
export function describeProblem({ message, path, wanted, fix }: Diagnostic): string {
  const notes = [
    ["at", path === "" ? undefined : path],
    ["wanted", wanted],
    ["fix", fix],
  ] as const;
  const lines = notes.flatMap(([name, text]) => (text === undefined ? [] : [`${name}: ${printableLine(text)}`]));
  return [printableLine(message), ...lines].join("\n");
}
