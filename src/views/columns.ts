/** How wide each column of a table is, so that a row fits the terminal. */
import { widthOf } from "./wrap.js";

export interface Column {
  readonly title: string;
  /** Shown with `-o wide` alone. */
  readonly wide?: true;
  /** It says which object a row is about: it is cut last. */
  readonly isName?: true;
  /** It changes with every look, as an age does: no news for a watcher. */
  readonly isVolatile?: true;
}

export interface Layout {
  /** The width of each column; 0 where it is left out. */
  readonly widths: readonly number[];
  readonly hidden: readonly Column[];
}

const GAP_WIDTH = 2;
/** What is left of a cell that is cut, at least. */
const TEXT_LEAST = 10;
const NAME_LEAST = 24;

/** @param least widths that the columns have at least where there is room */
export function layOut(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  width: number,
  least: readonly number[] = [],
): Layout {
  const natural = columns.map(({ title }, index) =>
    rows.reduce((most, row) => Math.max(most, widthOf(row[index] ?? "")), Math.max(widthOf(title), least[index] ?? 0)),
  );
  if (totalOf(natural) <= width) return { widths: natural, hidden: [] };
  // The columns that are not names, from the last; the first column is never left out.
  const leavable = columns.flatMap(({ isName }, index) => (isName === true || index === 0 ? [] : [index])).reverse();
  for (let count = 0; count <= leavable.length; count += 1) {
    const left = new Set(leavable.slice(0, count));
    const widths = shrink(
      columns,
      natural.map((one, index) => (left.has(index) ? 0 : one)),
      width,
    );
    if (widths !== null) return { widths, hidden: columns.filter((_, index) => left.has(index)) };
  }
  const names = columns.map(({ isName }, index) => (isName === true || index === 0 ? (natural[index] ?? 0) : 0));
  return {
    widths: cut(
      names,
      names.map(() => 1),
      width,
    ),
    hidden: columns.filter((_, index) => names[index] === 0),
  };
}

/** Cuts texts, then names; null if that is not enough. */
function shrink(columns: readonly Column[], natural: readonly number[], width: number): readonly number[] | null {
  const floor = (index: number, least: number) =>
    Math.min(natural[index] ?? 0, Math.max(columns[index]?.title.length ?? 0, least));
  const texts = columns.map(({ isName }, index) =>
    isName === true ? (natural[index] ?? 0) : floor(index, TEXT_LEAST),
  );
  const once = cut(natural, texts, width);
  if (totalOf(once) <= width) return once;
  const names = columns.map((_, index) => floor(index, columns[index]?.isName === true ? NAME_LEAST : TEXT_LEAST));
  const twice = cut(once, names, width);
  return totalOf(twice) <= width ? twice : null;
}

/** Takes from the widest column that is above its floor, until the row fits or nothing more can be taken. */
function cut(widths: readonly number[], floors: readonly number[], width: number): readonly number[] {
  const now = [...widths];
  for (let excess = totalOf(now) - width; excess > 0; excess -= 1) {
    const above = now.map((one, index) => (one > (floors[index] ?? 0) ? one : 0));
    const widest = Math.max(...above);
    if (widest === 0) break;
    now[above.indexOf(widest)] = widest - 1;
  }
  return now;
}

function totalOf(widths: readonly number[]): number {
  const shown = widths.filter((width) => width > 0);
  return shown.reduce((sum, width) => sum + width, 0) + GAP_WIDTH * Math.max(0, shown.length - 1);
}
