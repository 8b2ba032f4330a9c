/**
 * pf.conf: adds and removes the one line that /etc/pf.conf needs, as text. Pure. The anchor is before every other
 * filter rule, so that no `quick` rule of the machine's own passes packets that ztap blocks.
 */
import { ANCHOR } from "./render/names.js";

/** The comment above the line, which names ztap as its owner. */
const COMMENT = "# ztap: network policy. `ztap enforcement setup --backend pf --undo` takes these two lines out.";
export const ANCHOR_LINE = `anchor "${ANCHOR}"`;

/**
 * Filter rules, and statements that belong to them; options, tables, scrub, nat and rdr rules and their anchors come
 * before.
 */
const FILTER = /^\s*(pass|block|antispoof|anchor|load\s+anchor)\b/;
const OURS = new RegExp(`^\\s*anchor\\s+"?${ANCHOR}"?\\s*(all\\s*)?(#.*)?$`);

export interface AnchorPlace {
  /** Counts from 1; null if the line is missing. */
  readonly line: number | null;
  /** `pass quick` rules before it: ztap never blocks packets that they match. */
  readonly bypasses: readonly { readonly line: number; readonly text: string }[];
  /** `set skip on` lines: interfaces that pf ignores. */
  readonly skips: readonly { readonly line: number; readonly text: string }[];
}

export function findAnchorLine(text: string): AnchorPlace {
  const lines = text.split("\n");
  const at = lines.findIndex((line) => OURS.test(line));
  const numbered = (test: RegExp, list: readonly string[]) =>
    list.flatMap((line, index) => (test.test(line) ? [{ line: index + 1, text: line.trim() }] : []));
  return {
    line: at < 0 ? null : at + 1,
    bypasses: numbered(/^\s*pass\b.*\bquick\b/, at < 0 ? lines : lines.slice(0, at)),
    skips: numbered(/^\s*set\s+skip\s+on\b/, lines),
  };
}

/** Returns the text with the line before the first filter rule; unchanged if it has one already. */
export function addAnchorLine(text: string): string {
  const place = findAnchorLine(text);
  if (place.line !== null) return text;
  const lines = text.split("\n");
  const isContinued = (index: number): boolean => lines[index - 1]?.endsWith("\\") === true;
  const first = lines.findIndex((line, index) => FILTER.test(line) && !isContinued(index));
  if (first >= 0) return [...lines.slice(0, first), COMMENT, ANCHOR_LINE, ...lines.slice(first)].join("\n");
  const end = text === "" || text.endsWith("\n") ? "" : "\n";
  return `${text}${end}${COMMENT}\n${ANCHOR_LINE}\n`;
}

export function removeAnchorLine(text: string): string {
  return text
    .split("\n")
    .filter((line) => line !== COMMENT && !OURS.test(line))
    .join("\n");
}
