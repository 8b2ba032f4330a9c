/**
 * The embedded store's table: an SQLite database in a folder of its own.
 *
 *     store.db           the database; many processes may have it open at once
 *     store.db-journal   there while somebody writes, or after a writer was killed
 *     notify             touched after each commit that others should know of; watched by all
 *
 * Each write is one transaction, flushed to disk before it returns: it survives SIGKILL and loss of power
 * whole, or never happened. A writer that is killed frees its lock. One that is stopped (SIGSTOP) inside its
 * milliseconds keeps it until it continues; the others wait, without keeping their process from its other work, give up
 * after a minute and say so.
 * A full disk makes a write fail whole; head and everything committed before stay readable.
 *
 * Nothing here opens store.db beside SQLite: to close it would free the locks that this process has on it.
 */
import { closeSync, existsSync, lutimesSync, openSync, statSync, watch, type FSWatcher } from "node:fs";
import { join } from "node:path";
import { StoreError } from "../../interfaces/store.js";
import type { Clock } from "../../interfaces/system.js";
import type { KeyValueStore, KeyValueReader, KeyValueWriter } from "../../store/key-value.js";
import { makeFolder } from "../system/folder.js";
import { openDatabase, type StoreDatabase } from "./database.js";
import { storeFailure } from "./failure.js";
import { dataFileOf, identityOf, notifyFileOf, refuseForeign } from "./files.js";
import { patience, type Patience } from "./patience.js";

/** The slowest that a commit in another process is noticed where the notify file cannot be watched, and where it can. */
const DEAF_POLL_MS = 1_000;
const POLL_MS = 10_000;
const EMPTY: KeyValueReader = { get: () => undefined, entries: () => [] };

export type Access = "read" | "change" | "write";

export interface EmbeddedOptions {
  /** The store's folder. */
  readonly path: string;
  /**
   * `write` makes the store where there is none (folder 0700, files 0600). `read` creates and
   * writes nothing: where there is no store it reads as empty until there is one. Reading needs
   * permission to read store.db, and to write it where a writer was killed and is to be undone. `change` reads
   * like that too and makes the store at its first write: what is refused before that leaves nothing behind.
   */
  readonly access: Access;
}

export class EmbeddedTable implements KeyValueStore {
  readonly backend = "embedded";
  /** A watch was refused, or has lost its file. */
  #isDeaf = false;
  readonly #path: string;
  readonly #access: Access;
  readonly #clock: Clock;
  #database: StoreDatabase | null = null;
  /** The file that is open: another one under the same name is another store. */
  #identity: string | null = null;
  /** Ends with the last operation: a connection does one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #closed = new AbortController();

  private constructor({ path, access }: EmbeddedOptions, clock: Clock) {
    this.#path = path;
    this.#access = access;
    this.#clock = clock;
  }

  /** @throws StoreError `store-permission`, `store-damaged`, `store-version`, `store-locked`, `store-unavailable` */
  static async open(options: EmbeddedOptions, clock: Clock): Promise<EmbeddedTable> {
    const table = new EmbeddedTable(options, clock);
    await table.#inTurn((patiently) => table.#opened(patiently));
    return table;
  }

  read<T>(work: (reader: KeyValueReader) => T): Promise<T> {
    return this.#inTurn(async (patiently) => {
      const database = await this.#opened(patiently);
      return database === null ? work(EMPTY) : database.read(work, patiently);
    });
  }

  async write<T>(work: (writer: KeyValueWriter) => T): Promise<T> {
    if (this.#access === "read")
      throw new StoreError("store-permission", `the store at ${this.#path} was opened for reading only`);
    return this.#inTurn(async (patiently) => {
      const database = await this.#opened(patiently, true);
      if (database === null) throw new StoreError("store-unavailable", `the store at ${this.#path} is gone`);
      return database.write(work, patiently);
    });
  }

  get pollMs(): number {
    return this.#isDeaf ? DEAF_POLL_MS : POLL_MS;
  }

  announce(): void {
    const now = this.#clock.now() / 1000;
    try {
      lutimesSync(this.#notifyFile, now, now);
    } catch {
      // The commit stands whatever becomes of the announcement; without it watchers find out at their slow look.
      this.#tryToMakeNotifyFile();
    }
  }

  listen(wake: () => void): () => void {
    let watcher: FSWatcher | null = null;
    const goDeaf = (): void => {
      this.#isDeaf = true;
      watcher?.close();
      wake();
    };
    try {
      // `rename`: the file that is watched is not under this name any more.
      watcher = watch(this.#notifyFile, (event) => (event === "rename" ? goDeaf() : wake()));
      watcher.on("error", goDeaf);
    } catch {
      // There is no such file yet, or the system has no watch left: the slow look remains.
      this.#isDeaf = true;
    }
    return () => watcher?.close();
  }

  /** Ends what waits for other processes, which then fails. */
  async close(): Promise<void> {
    this.#closed.abort();
    await this.#turn;
    this.#release();
  }

  #release(): void {
    const database = this.#database;
    this.#database = null;
    database?.close();
  }

  get #dataFile(): string {
    return dataFileOf(this.#path);
  }

  get #notifyFile(): string {
    return notifyFileOf(this.#path);
  }

  /** The database; null where there is none yet and nothing is to be written. */
  async #opened(patiently: Patience, forWriting = this.#access === "write"): Promise<StoreDatabase | null> {
    if (this.#database !== null) {
      // A file that was deleted or replaced can still be written to, and nobody would ever read it.
      if (identityOf(this.#path) === this.#identity) return this.#database;
      throw replaced(this.#path);
    }
    refuseForeign(this.#path);
    this.#checkFolder(forWriting);
    refuseOlderStore(this.#path, this.#dataFile);
    const before = identityOf(this.#path);
    const database = await openDatabase(this.#dataFile, forWriting ? "write" : "read", patiently);
    if (database === null) return null;
    try {
      // SQLite opens by name: what was opened is what was looked at before, or was made since.
      refuseForeign(this.#path);
      this.#identity = identityOf(this.#path);
      if (before !== null && this.#identity !== before) throw replaced(this.#path);
    } catch (error) {
      database.close();
      throw error;
    }
    if (this.#access !== "read") this.#tryToMakeNotifyFile();
    this.#database = database;
    return database;
  }

  /** The store's folder is there, or nothing is and it may be made. */
  #checkFolder(forWriting: boolean): void {
    const there = statSync(this.#path, { throwIfNoEntry: false });
    if (there === undefined && forWriting) makeFolder(this.#path, 0o700);
    if (there === undefined || there.isDirectory()) return;
    throw new StoreError(
      "store-unavailable",
      `${this.#path} is a file and a store is a folder; use --store with another path`,
    );
  }

  #tryToMakeNotifyFile(): void {
    try {
      closeSync(openSync(this.#notifyFile, "a", 0o600));
    } catch {
      // As in announce: watchers fall back to their slow look.
    }
  }

  /** Runs one operation when those before it have ended. */
  #inTurn<T>(run: (patiently: Patience) => Promise<T>): Promise<T> {
    const patiently = patience(this.#clock, this.#closed.signal);
    const result = this.#turn.then(() => this.#guarded(() => run(patiently)));
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      // Wrong use (a key that cannot be one) is the caller's, and neither SQLite's nor the disk's.
      if (error instanceof RangeError) throw error;
      // After a failure of the database (a full disk, say) the next use opens another connection.
      if (!(error instanceof StoreError)) this.#release();
      throw storeFailure(error, this.#path);
    }
  }
}

function replaced(path: string): StoreError {
  return new StoreError(
    "store-unavailable",
    `the store at ${path} was deleted or replaced while it was in use; start this process again`,
  );
}

/** Until 0.1 this was an lmdb database: a new one beside it would silently begin at revision 1. @throws StoreError `store-version` */
function refuseOlderStore(path: string, dataFile: string): void {
  if (!existsSync(join(path, "data.mdb")) || existsSync(dataFile)) return;
  throw new StoreError(
    "store-version",
    `the store at ${path} was written by an earlier ztap (data.mdb), and this one keeps its store in another format; use the version of ztap that wrote it, or move the store away and apply the policy again`,
  );
}
