/**
 * Characters and lines that programs show or read in more than one way. They are refused before any parser
 * sees the text, in comments as well: what a reviewer sees must be what ztap reads.
 */
import type { Problem } from "../problem.js";

/**
 * All controls but tab and line breaks, line breaks of other standards, marks that turn the direction of
 * writing, a byte order mark that is not the first character, halves of characters, and U+FFFE and U+FFFF.
 */
const DOUBTFUL =
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufffe\uffff\ud800-\udfff]|\r(?!\n)|(?!^)\ufeff/u;

export const hasDoubtfulCharacters = (text: string): boolean => DOUBTFUL.test(text);

/** JSON of objects that were accepted: their values may hold such characters, since authors may write them as escapes. */
export function escapeDoubtful(json: string): string {
  return json.replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** One for each line, the first in it. */
export function textProblems(text: string): readonly Problem[] {
  if (!DOUBTFUL.test(text) && !text.includes("%")) return [];
  const problems: Problem[] = [];
  for (let start = 0; start < text.length;) {
    const newline = text.indexOf("\n", start);
    const end = newline === -1 ? text.length : newline + 1;
    const problem = lineProblem(text.slice(start, end), start);
    if (problem !== undefined) problems.push(problem);
    start = end;
  }
  return problems;
}

function lineProblem(line: string, start: number): Problem | undefined {
  const found = DOUBTFUL.exec(start === 0 ? line : `\n${line}`);
  if (found === null) return percentProblem(line, start);
  const index = start === 0 ? found.index : found.index - 1;
  const name = `U+${(found[0].codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}`;
  return {
    code: "doubtfulText",
    path: [],
    offset: start + index,
    message: `${describe(found[0])} ${name} stands here, which programs show and read in more than one way`,
    found: name,
    wanted: "characters that everybody sees, tabs, and line breaks that are LF or CR LF",
    fix: found[0] === "\r" ? "end lines with LF or CR LF" : `remove it, or write it as an escape in double quotes`,
  };
}

function describe(character: string): string {
  if (character === "\r") return "a carriage return that no line feed follows,";
  if (character === "\ufeff") return "a byte order mark within the text,";
  if (/[\u0085\u2028\u2029]/.test(character)) return "a line break of another standard,";
  if (/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f]/.test(character))
    return "a mark that turns the direction of writing,";
  return /[\ud800-\udfff\ufffe\uffff]/.test(character) ? "a code that is no character," : "a control character,";
}

/** A directive in the first column; elsewhere some readers take such a line for one and others for text. */
function percentProblem(line: string, start: number): Problem | undefined {
  const column = line.search(/\S/);
  if (column === -1 || line.charAt(column) !== "%" || /^%YAML[ \t]/.test(line)) return undefined;
  return {
    code: "doubtfulText",
    path: [],
    offset: start + column,
    message: "a line begins with %, which some readers of YAML take for a directive and others for text",
    found: "%",
    wanted: "no directive but %YAML 1.2",
    fix: "remove the line, or write the text in quotes on the line of its key",
  };
}
