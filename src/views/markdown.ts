/**
 * Markdown as GitHub and GitLab render it, from untrusted text: all of it is in code spans and fences, in which marks,
 * HTML, links and @mentions have no effect. Also documents with a maximum length.
 */
import { printableLine } from "../model/printable.js";

/** Returns a code span. CommonMark 6.1: only a run of as many backticks closes it. */
export function code(text: string): string {
  const line = printableLine(text).replace(/ {2,}/g, " ").trim();
  if (line === "") return "";
  const fence = "`".repeat(1 + longestRun([line]));
  const pad = line.startsWith("`") || line.endsWith("`") ? " " : "";
  return `${fence}${pad}${line}${pad}${fence}`;
}

/** Returns a fence for the lines. CommonMark 4.5: only a fence of at least the same length closes it. */
export function fenceAround(lines: readonly string[]): string {
  return "`".repeat(Math.max(3, 1 + longestRun(lines)));
}

function longestRun(lines: readonly string[]): number {
  let longest = 0;
  for (const line of lines) for (const run of line.match(/`+/g) ?? []) longest = Math.max(longest, run.length);
  return longest;
}

/** Escapes text for HTML, which summaries are made of. */
export function html(text: string): string {
  return printableLine(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/**
 * Part of a document: its opening and closing lines are all present or all absent; of the lines between, as many as
 * fit.
 */
export interface Section {
  readonly open: readonly string[];
  readonly lines: readonly string[];
  readonly close: readonly string[];
}

export const block = (...open: readonly string[]): Section => ({ open, lines: [], close: [] });

/**
 * Returns a section that is folded up.
 * @param summary HTML
 */
export function folded(summary: string, { open, lines, close }: Section): Section {
  return {
    open: ["<details>", `<summary>${summary}</summary>`, "", ...open],
    lines,
    close: [...close, "", "</details>", ""],
  };
}

/** Returns a fence with a unified diff. */
export function diffFence(lines: readonly string[]): Section {
  const fence = fenceAround(lines);
  return { open: [`${fence}diff`], lines, close: [fence] };
}

/**
 * Joins the sections as far as they fit; if they do not, the notice ends the document.
 * @param limit in UTF-16 code units, of which there are at least as many as characters
 */
export function fitSections(sections: readonly Section[], limit: number, notice: string): string {
  const out: string[] = [];
  let room = limit - size([notice]);
  let isCut = false;
  for (const { open, lines, close } of sections) {
    const frame = size(open) + size(close);
    const [first] = lines;
    if (frame + (first === undefined ? 0 : size([first])) > room) {
      isCut = true;
      continue;
    }
    room -= frame;
    const fitting = countFitting(lines, room);
    room -= size(lines.slice(0, fitting));
    out.push(...open, ...lines.slice(0, fitting), ...close);
    isCut ||= fitting < lines.length;
  }
  return [...out, ...(isCut ? [notice] : [])].join("\n");
}

/** Returns the length with the line breaks. */
function size(lines: readonly string[]): number {
  return lines.reduce((sum, line) => sum + line.length + 1, 0);
}

function countFitting(lines: readonly string[], room: number): number {
  let left = room;
  for (const [index, line] of lines.entries()) {
    left -= line.length + 1;
    if (left < 0) return index;
  }
  return lines.length;
}
