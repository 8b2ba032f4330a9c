/**
 * Conf: the one line that /etc/pf.conf needs, put in and taken out as text. Pure. The anchor stands before every
 * other filter rule, so that no `quick` rule of the machine's own passes what ztap blocks.
 */
import { ANCHOR } from "./render/names.js";

/** Above the line, so that whoever reads the file knows whose it is. */
const COMMENT = "# ztap: network policy. `ztap enforcement setup --backend pf --undo` takes these two lines out.";
export const ANCHOR_LINE = `anchor "${ANCHOR}"`;

/** Filter rules, and what belongs to them; options, tables, scrub, nat and rdr rules and their anchors come before. */
const FILTER = /^\s*(pass|block|antispoof|anchor|load\s+anchor)\b/;
const OURS = new RegExp(`^\\s*anchor\\s+"?${ANCHOR}"?\\s*(all)?\\s*(#.*)?$`);

export interface AnchorPlace {
  /** Counts from 1; null where the line is missing. */
  readonly line: number | null;
  /** `pass quick` rules before it: what they match is never blocked by ztap. */
  readonly bypasses: readonly { readonly line: number; readonly text: string }[];
  /** `set skip on` lines: interfaces that pf does not look at. */
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

/** The text with the line before the first filter rule; unchanged where it has one already. */
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
