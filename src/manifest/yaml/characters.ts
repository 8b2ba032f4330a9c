/**
 * Characters and lines that programs show or read in more than one way. They are refused before any parser sees the
 * text, in comments as well: a reviewer must see exactly the text that ztap reads.
 */
import type { Problem } from "../problem.js";

/**
 * All controls except tab and line breaks, Unicode line breaks, bidirectional controls, a byte order mark that is not
 * the first character, unpaired surrogates, and U+FFFE and U+FFFF.
 */
const DOUBTFUL =
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufffe\uffff\ud800-\udfff]|\r(?!\n)|(?!^)\ufeff/u;

export const hasDoubtfulCharacters = (text: string): boolean => DOUBTFUL.test(text);

/** Escapes JSON of accepted objects: their values may hold such characters, since authors may write them as escapes. */
export function escapeDoubtful(json: string): string {
  return json.replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Returns one problem for each line, at its first such character. */
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
    message: `${describe(found[0])} ${name} is here, which programs show and read in more than one way`,
    found: name,
    wanted: "visible characters, tabs, and LF or CR LF as line breaks",
    fix: found[0] === "\r" ? "end lines with LF or CR LF" : `remove it, or write it as an escape in double quotes`,
  };
}

function describe(character: string): string {
  if (character === "\r") return "a carriage return without a line feed,";
  if (character === "\ufeff") return "a byte order mark within the text,";
  if (/[\u0085\u2028\u2029]/.test(character)) return "a Unicode line break,";
  if (/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f]/.test(character)) return "a bidirectional control character,";
  return /[\ud800-\udfff\ufffe\uffff]/.test(character)
    ? "a code point that is not a character,"
    : "a control character,";
}

/**
 * A `%` in the first column is a directive; elsewhere, some parsers take such a line for a directive and others for
 * text.
 */
function percentProblem(line: string, start: number): Problem | undefined {
  const column = line.search(/\S/);
  if (column === -1 || line.charAt(column) !== "%" || /^%YAML[ \t]/.test(line)) return undefined;
  return {
    code: "doubtfulText",
    path: [],
    offset: start + column,
    message: "a line begins with %, which some YAML parsers read as a directive and others as text",
    found: "%",
    wanted: "no directive but %YAML 1.2",
    fix: "remove the line, or write the text in quotes on the line of its key",
  };
}
