/** Aligned columns without borders. */
import Table from "cli-table3";
import type { Style } from "./style.js";
import { widthOf, wrapWords } from "./wrap.js";

const GAP = "  ";

const NO_BORDERS = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: GAP,
};

/**
 * Renders a table. Each cell becomes one harmless line, whatever text it is given. If the style's width is too small
 * for a row, its last columns are on a separate line below it.
 */
export function renderTable(titles: readonly string[], cells: readonly (readonly string[])[], style: Style): string {
  const head = titles.map(style.clean);
  const rows = cells.map((row) => row.map(style.clean));
  const columns = countFitting(head, rows, style.width);
  if (columns === head.length) return align(head, rows, style);
  const [first = "", ...lines] = align(
    head.slice(0, columns),
    rows.map((row) => row.slice(0, columns)),
    style,
  ).split("\n");
  const below = (row: readonly string[]) =>
    wrapWords(`${GAP}${row.slice(columns).join(GAP)}`.trimEnd(), style.width, GAP).filter((line) => line !== "");
  return [
    first,
    ...below(head).map(style.bold),
    ...rows.flatMap((row, index) => [lines[index] ?? "", ...below(row)]),
  ].join("\n");
}

/** Returns how many of the first columns, at least one, fit beside each other. */
function countFitting(head: readonly string[], rows: readonly (readonly string[])[], width: number): number {
  let taken = 0;
  for (const [index, title] of head.entries()) {
    taken += rows.reduce((most, row) => Math.max(most, widthOf(row[index] ?? "")), title.length);
    if (taken > width && index > 0) return index;
    taken += GAP.length;
  }
  return head.length;
}

function align(head: readonly string[], rows: readonly (readonly string[])[], style: Style): string {
  const table = new Table({
    head: head.map((title) => style.bold(title)),
    chars: NO_BORDERS,
    style: { "padding-left": 0, "padding-right": 0, head: [], border: [], compact: true },
  });
  table.push(...rows.map((row) => [...row]));
  return table
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}
