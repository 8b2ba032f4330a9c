/**
 * SQLite, as built into Node.js: loaded only here, and only to open a database: the embedded store, and pf's lock.
 *
 * At the first load Node.js 22 prints that SQLite is experimental. That warning is for developers (ADR 7), not for
 * users of each command: this one warning is not printed, any other is.
 */
import { isBuiltin } from "node:module";
import type * as Sqlite from "node:sqlite";
import { StoreError } from "../../interfaces/store.js";

export type Database = Sqlite.DatabaseSync;

/**
 * Loads the module.
 * @throws StoreError if this Node.js was built without SQLite
 */
export function loadSqlite(): typeof Sqlite {
  if (!isBuiltin("node:sqlite"))
    throw new StoreError(
      "store-unavailable",
      `this Node.js (${process.version}) has no SQLite, which the embedded store and pf's lock need; use Node.js 22.13 or newer as nodejs.org builds it`,
    );
  const emitWarning = process.emitWarning.bind(process);
  const before = Object.getOwnPropertyDescriptor(process, "emitWarning");
  process.emitWarning = (warning: string | Error, ...rest: unknown[]): void => {
    if (!String(warning).startsWith("SQLite is an experimental feature"))
      Reflect.apply(emitWarning, process, [warning, ...rest]);
  };
  try {
    return process.getBuiltinModule("node:sqlite");
  } finally {
    if (before !== undefined) Object.defineProperty(process, "emitWarning", before);
  }
}
