/** Aligned columns without borders, which fit the terminal. */
import { layOut, type Column } from "./columns.js";
import type { Style } from "./style.js";
import { padTo, shorten, wrapWords } from "./wrap.js";

export const GAP = "  ";

export interface TableOptions {
  /** Whether the columns of `-o wide` are shown. */
  readonly wide?: boolean;
  /** Whether the first line has the titles. */
  readonly headers?: boolean;
  /** Widths that the columns have at least: those of an earlier table, which this one continues. */
  readonly least?: readonly number[];
}

/**
 * Renders a table. Each cell becomes one harmless line, whatever text it is given. Where the style's width is too small,
 * long cells are cut with an ellipsis, those of names in the middle and last of all; where even that is too wide, the
 * last columns are left out, and a line below names them.
 */
export function renderTable(
  titles: readonly (string | Column)[],
  cells: readonly (readonly string[])[],
  style: Style,
  options: TableOptions = {},
): string {
  const { head, rows, hidden } = tableLines(titles, cells, style, options);
  const note = hidden.length === 0 ? [] : [describeHidden(hidden, style)];
  return [...(options.headers === false ? [] : [head]), ...rows, ...note].join("\n");
}

export interface TableLines {
  readonly head: string;
  readonly rows: readonly string[];
  /** The titles of the columns for which there is no room. */
  readonly hidden: readonly string[];
  /** The width of each column; 0 where it is left out. */
  readonly widths: readonly number[];
}

/** The same, line by line. */
export function tableLines(
  titles: readonly (string | Column)[],
  cells: readonly (readonly string[])[],
  style: Style,
  { wide = false, least = [] }: TableOptions = {},
): TableLines {
  const all = titles.map((title): Column => (typeof title === "string" ? { title } : title));
  const isShown = (index: number) => wide || all[index]?.wide !== true;
  const columns = all.filter((_, index) => isShown(index));
  const rows = cells.map((row) => row.filter((_, index) => isShown(index)).map(style.clean));
  const { widths, hidden } = layOut(columns, rows, style.width, least);
  const line = (row: readonly string[]) =>
    row
      .flatMap((cell, index) => {
        const width = widths[index] ?? 0;
        return width === 0 ? [] : [padTo(shorten(cell, width, columns[index]?.isName ? "middle" : "end"), width)];
      })
      .join(GAP)
      .trimEnd();
  return {
    head: line(columns.map(({ title }) => style.bold(title))),
    rows: rows.map(line),
    hidden: hidden.map(({ title }) => title),
    widths,
  };
}

export function describeHidden(titles: readonly string[], style: Style): string {
  const text = `No room for ${titles.join(", ")}; a wider terminal, a pipe or -o json has all.`;
  return wrapWords(text, style.width, GAP).map(style.dim).join("\n");
}
