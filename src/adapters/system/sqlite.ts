/**
 * SQLite, as Node.js has it built in: loaded here alone, and only where something opens a database. The embedded store is
 * one, and pf's lock.
 *
 * Node.js 22 says at the first load that it is experimental. That is for those who build on it (ADR 7),
 * and not for each command's reader: this one sentence is not printed, any other warning is.
 */
import { isBuiltin } from "node:module";
import type * as Sqlite from "node:sqlite";
import { StoreError } from "../../interfaces/store.js";

export type Database = Sqlite.DatabaseSync;

/** @throws StoreError where this Node.js was built without SQLite */
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
