/**
 * One connection to the store's database file: opening, its format, its transactions.
 *
 * The file is an SQLite database with a rollback journal: a killed writer leaves a journal, and the next process that
 * opens the file rolls the incomplete write back. SQLite's locks belong to the kernel, which releases them with the
 * process that held them.
 */
import { accessSync, closeSync, constants, openSync, statSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { keys, STORE_FORMAT } from "../../store/keys.js";
import type { KeyValueReader, KeyValueWriter } from "../../store/local/key-value.js";
import { StoreError } from "../../interfaces/store.js";
import { damaged, isBusy } from "./failure.js";
import type { Patience } from "./patience.js";
import { loadSqlite, type Database } from "../system/sqlite.js";

/** Sorts after every key that begins with a prefix. */
const LAST = "\u{10ffff}";
const SMALLEST_PAGE = 512;
const SCHEMA = "CREATE TABLE entries (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID";
/**
 * EXTRA: a commit that has returned survives a power failure, including the removal of the journal. The second one: the
 * schema of a file made by another user cannot run functions.
 */
const PRAGMAS = "PRAGMA synchronous = EXTRA; PRAGMA trusted_schema = OFF";
/**
 * How a transaction begins: up to the point where it has SQLite's lock, for reading or for writing. No later statement
 * finds the database locked.
 */
const BEGIN = {
  // BEGIN alone takes no lock, so that it is not repeated.
  reading: { first: "BEGIN", lock: "SELECT 1 FROM sqlite_schema LIMIT 1" },
  writing: { first: "", lock: "BEGIN IMMEDIATE" },
} as const;

export interface StoreDatabase {
  /** Runs `work` on one snapshot. One transaction at a time: await it before the next. */
  read<T>(work: (reader: KeyValueReader) => T, patiently: Patience): Promise<T>;
  /** Runs `work` in one transaction, exclusive among all processes. */
  write<T>(work: (writer: KeyValueWriter) => T, patiently: Patience): Promise<T>;
  close(): void;
}

/**
 * Opens the file. `write` creates it if it is missing, and creates the store if it is empty.
 * @returns null if there is no store in it yet, and none is to be created
 * @throws StoreError `store-version`, `store-damaged`; SQLite's and the system's errors as they are
 */
export async function openDatabase(
  file: string,
  access: "read" | "write",
  patiently: Patience,
): Promise<StoreDatabase | null> {
  const size = statSync(file, { throwIfNoEntry: false })?.size;
  if (size === undefined && access === "read") return null;
  if (size === undefined) makeFile(file);
  // SQLite would take such a file for an empty database, and overwrite it.
  else if (size > 0 && size < SMALLEST_PAGE) throw damaged(dirname(file), `${basename(file)} is not a database`);
  accessSync(file, constants.R_OK | (access === "write" ? constants.W_OK : 0));
  if (access === "write") accessSync(dirname(file), constants.W_OK);
  const { DatabaseSync } = loadSqlite();
  // A reader with permission to write opens it for writing too, so that it can roll back the incomplete write of a
  // killed writer.
  const readOnly = access === "read" && !(isWritable(file) && isWritable(dirname(file)));
  const database = new DatabaseSync(resolve(file), { readOnly });
  try {
    await patiently(() => database.exec(PRAGMAS));
    const found = await transaction(database, BEGIN.reading, () => formatOf(database), patiently);
    const format =
      found === null && access === "write"
        ? await transaction(database, BEGIN.writing, () => formatOf(database) ?? claim(database), patiently)
        : found;
    if (format === STORE_FORMAT) return connection(database);
    if (format !== null) throw unfit(dirname(file), format);
  } catch (error) {
    database.close();
    throw error;
  }
  database.close();
  return null;
}

function connection(database: Database): StoreDatabase {
  const get = database.prepare("SELECT value FROM entries WHERE key = ?");
  const range = database.prepare("SELECT key, value FROM entries WHERE key >= ? AND key < ? ORDER BY key");
  const put = database.prepare("INSERT INTO entries VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value");
  const remove = database.prepare("DELETE FROM entries WHERE key = ?");
  const reader: KeyValueReader = {
    get: (key) => textOf(get.get(key)?.["value"]),
    entries: (prefix) =>
      range.all(prefix, prefix + LAST).map((row) => [textOf(row["key"]) ?? "", textOf(row["value"]) ?? ""] as const),
  };
  const writer: KeyValueWriter = {
    ...reader,
    put: (key, value) => void put.run(key, value),
    remove: (key) => void remove.run(key),
  };
  return {
    read: (work, patiently) => transaction(database, BEGIN.reading, () => work(reader), patiently),
    write: (work, patiently) => transaction(database, BEGIN.writing, () => work(writer), patiently),
    close: () => database.close(),
  };
}

/**
 * Runs all of `work` and the commit, or nothing of it. If no other process is in the way, no other work of this process
 * comes between. A commit that has to wait for readers keeps new ones out, and is not restarted.
 */
async function transaction<T>(
  database: Database,
  { first, lock }: (typeof BEGIN)[keyof typeof BEGIN],
  work: () => T,
  patiently: Patience,
): Promise<T> {
  try {
    database.exec(first);
    const { result, isOver } = await patiently(() => {
      database.exec(lock);
      return { result: work(), isOver: commits(database) };
    });
    if (!isOver) await patiently(() => database.exec("COMMIT"));
    return result;
  } catch (error) {
    try {
      database.exec("ROLLBACK");
    } catch {
      // The transaction never began, or SQLite has rolled back by itself, as it does after a disk error. The first
      // error is the one to report.
    }
    throw error;
  }
}

/** Returns false while another process reads: the transaction stays open, and can be committed later. */
function commits(database: Database): boolean {
  try {
    database.exec("COMMIT");
    return true;
  } catch (error) {
    if (isBusy(error)) return false;
    throw error;
  }
}

/** Returns the format in the file; null for a file without tables, "" for other content. */
function formatOf(database: Database): string | null {
  const tables = database.prepare("SELECT name FROM sqlite_schema").all();
  if (tables.length === 0) return null;
  if (!tables.some(({ name }) => name === "entries")) return "";
  return textOf(database.prepare("SELECT value FROM entries WHERE key = ?").get(keys.format)?.["value"]) ?? "";
}

function claim(database: Database): string {
  database.exec(SCHEMA);
  database.prepare("INSERT INTO entries VALUES (?, ?)").run(keys.format, STORE_FORMAT);
  return STORE_FORMAT;
}

function unfit(path: string, format: string): StoreError {
  if (format === "") return damaged(path, "the database has other content");
  return new StoreError(
    "store-version",
    `the store at ${path} has the format ${JSON.stringify(format.slice(0, 40))} and this ztap knows ${STORE_FORMAT}; use the version of ztap that wrote it, or move the store away and apply the policy again`,
  );
}

/** Creates the file, for its owner only; SQLite gives its journal the same mode. Another process may be faster. */
function makeFile(file: string): void {
  try {
    closeSync(openSync(file, "wx", 0o600));
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  }
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}
