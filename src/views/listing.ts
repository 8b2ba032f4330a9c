/** A list as a table: its rows have keys, so that a watcher can say which of them changed. */
import type { Column } from "./columns.js";
import type { Style } from "./style.js";
import { describeHidden, renderTable, tableLines } from "./table.js";

export interface ListingRow {
  /** Names the object of the row, and no other row's. */
  readonly key: string;
  readonly cells: readonly string[];
}

export interface ListTable {
  readonly columns: readonly Column[];
  readonly rows: readonly ListingRow[];
  /** Shown in place of a table without rows. */
  readonly empty: string;
  /** Finished lines below the table. */
  readonly notes: readonly string[];
}

export interface ListingOptions {
  readonly wide: boolean;
  readonly headers: boolean;
}

/** Renders the table with the notes below it; without headers the rows alone. */
export function renderListing(
  { columns, rows, empty, notes }: ListTable,
  style: Style,
  options: ListingOptions = { wide: false, headers: true },
): string {
  const cells = rows.map((row) => row.cells);
  const table = rows.length === 0 ? empty : renderTable(columns, cells, style, options);
  if (!options.headers) return rows.length === 0 ? "" : table;
  return [table, ...notes].join("\n");
}

type Change = "current" | "created" | "updated" | "deleted";

/** Renders a list, and then the rows of it that changed, with the word for the change in the first column. */
export class WatchedListing {
  #seen: ReadonlyMap<string, ListingRow> | null = null;
  #notes = "";
  #widths: readonly number[] = [];

  constructor(
    private readonly style: Style,
    private readonly options: ListingOptions,
  ) {}

  /** Returns the lines and notes that are new; none where only something changed that is no news. */
  update(listing: ListTable): { readonly lines: readonly string[]; readonly notes: readonly string[] } {
    const { columns, rows, empty, notes } = listing;
    const isFirst = this.#seen === null;
    const isShown = ({ wide, isVolatile }: Column) => isVolatile !== true && (this.options.wide || wide !== true);
    const known = this.#seen ?? new Map<string, ListingRow>();
    const changes = changedRows(known, listing, isFirst ? "current" : "created", isShown);
    this.#seen = new Map(rows.map((row) => [row.key, row]));
    const paint = {
      current: this.style.dim,
      created: this.style.good,
      updated: this.style.warn,
      deleted: this.style.bad,
    };
    const lines = tableLines(
      [{ title: "Event" }, ...columns],
      changes.map(([change, { cells }]) => [paint[change](change.padEnd("current".length)), ...cells]),
      this.style,
      { wide: this.options.wide, least: this.#widths },
    );
    this.#widths = lines.widths;
    const news = notes.join("\n") === this.#notes ? [] : notes;
    this.#notes = notes.join("\n");
    const { headers } = this.options;
    return {
      lines: [
        ...(isFirst && headers && rows.length > 0 ? [lines.head] : []),
        ...lines.rows,
        ...(isFirst && headers && rows.length === 0 ? [empty] : []),
      ],
      notes: [...(isFirst && lines.hidden.length > 0 ? [describeHidden(lines.hidden, this.style)] : []), ...news],
    };
  }
}

function changedRows(
  before: ReadonlyMap<string, ListingRow>,
  { columns, rows }: ListTable,
  created: "current" | "created",
  counts: (column: Column) => boolean,
): readonly (readonly [Change, ListingRow])[] {
  const contentOf = ({ cells }: ListingRow) =>
    JSON.stringify(columns.flatMap((column, index) => (counts(column) ? [cells[index]] : [])));
  const now = new Set(rows.map(({ key }) => key));
  const changed = rows.flatMap((row): (readonly [Change, ListingRow])[] => {
    const known = before.get(row.key);
    if (known === undefined) return [[created, row]];
    return contentOf(known) === contentOf(row) ? [] : [["updated", row]];
  });
  const deleted = [...before.values()].filter(({ key }) => !now.has(key));
  return [...changed, ...deleted.map((row) => ["deleted", row] as const)];
}
