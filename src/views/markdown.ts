/**
 * Markdown as GitHub and GitLab render it, from text that anyone may have written: all of it stands in code spans
 * and fences, where neither marks, HTML, links nor @mentions mean anything. And documents that keep to a length.
 */
import { printableLine } from "../model/printable.js";

/** CommonMark 6.1: a span is closed only by a run of as many backticks. */
export function code(text: string): string {
  const line = printableLine(text).replace(/ {2,}/g, " ").trim();
  if (line === "") return "";
  const fence = "`".repeat(1 + longestRun([line]));
  const pad = line.startsWith("`") || line.endsWith("`") ? " " : "";
  return `${fence}${pad}${line}${pad}${fence}`;
}

/** CommonMark 4.5: a fence is closed only by one that is at least as long. */
export function fenceAround(lines: readonly string[]): string {
  return "`".repeat(Math.max(3, 1 + longestRun(lines)));
}

function longestRun(lines: readonly string[]): number {
  let longest = 0;
  for (const line of lines) for (const run of line.match(/`+/g) ?? []) longest = Math.max(longest, run.length);
  return longest;
}

/** Text within HTML, of which a summary is made. */
export function html(text: string): string {
  return printableLine(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** Part of a document: what opens and closes it stands in full or not at all, of the lines between as many as there is room for. */
export interface Section {
  readonly open: readonly string[];
  readonly lines: readonly string[];
  readonly close: readonly string[];
}

export const block = (...open: readonly string[]): Section => ({ open, lines: [], close: [] });

/** @param summary HTML */
export function folded(summary: string, { open, lines, close }: Section): Section {
  return {
    open: ["<details>", `<summary>${summary}</summary>`, "", ...open],
    lines,
    close: [...close, "", "</details>", ""],
  };
}

/** A fence of a unified diff. */
export function diffFence(lines: readonly string[]): Section {
  const fence = fenceAround(lines);
  return { open: [`${fence}diff`], lines, close: [fence] };
}

/**
 * The sections one after the other, as far as they fit; where they do not, the notice ends the document.
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

/** With the line break of each. */
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
