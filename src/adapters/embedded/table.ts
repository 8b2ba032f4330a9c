/**
 * The key-value store of the embedded store: an SQLite database in a folder of its own.
 *
 *     store.db           the database; many processes may have it open at once
 *     store.db-journal   present during a write, or after a writer was killed
 *     notify             touched after each commit that others should see; all processes watch it
 *
 * Each write is one transaction, flushed to disk before it returns: it survives SIGKILL and power failure completely,
 * or never happened. A killed writer releases its lock. A writer that is stopped (SIGSTOP) within its milliseconds
 * keeps the lock until it continues; the others wait, without blocking their process, and give up with an error after a
 * minute. On a full disk a write fails as a whole; head and all earlier commits stay readable.
 *
 * No code here opens store.db except through SQLite: closing it would release the locks that this process has on it.
 */
import { closeSync, existsSync, lutimesSync, openSync, statSync, watch, type FSWatcher } from "node:fs";
import { join } from "node:path";
import { StoreError } from "../../interfaces/store.js";
import type { Clock } from "../../interfaces/system.js";
import type { KeyValueStore, KeyValueReader, KeyValueWriter } from "../../store/local/key-value.js";
import { makeFolder } from "../system/folder.js";
import { openDatabase, type StoreDatabase } from "./database.js";
import { storeFailure } from "./failure.js";
import { dataFileOf, identityOf, notifyFileOf, refuseForeign } from "./files.js";
import { patience, type Patience } from "./patience.js";

/** Longest delays until a commit of another process is noticed: without a watch on the notify file, and with one. */
const DEAF_POLL_MS = 1_000;
const POLL_MS = 10_000;
const EMPTY: KeyValueReader = { get: () => undefined, entries: () => [] };

export type Access = "read" | "change" | "write";

export interface EmbeddedOptions {
  /** The store's folder. */
  readonly path: string;
  /**
   * `write` creates the store if it is missing (folder 0700, files 0600). `read` creates and writes nothing: a missing
   * store reads as empty until there is one. Reading needs permission to read store.db, and to write it if the write of
   * a killed writer must be rolled back. `change` reads in the same way and creates the store at its first write, so
   * that an operation that is refused before leaves nothing behind.
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
  /** The identity of the open file: another file of the same name is another store. */
  #identity: string | null = null;
  /** Ends with the last operation: a connection does one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  readonly #closed = new AbortController();

  private constructor({ path, access }: EmbeddedOptions, clock: Clock) {
    this.#path = path;
    this.#access = access;
    this.#clock = clock;
  }

  /**
   * Opens the store.
   * @throws StoreError `store-permission`, `store-damaged`, `store-version`, `store-locked`, `store-unavailable`
   */
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
      // The commit is valid even if the announcement fails; watchers then notice it at their slow poll.
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
      // `rename`: the watched file no longer has this name.
      watcher = watch(this.#notifyFile, (event) => (event === "rename" ? goDeaf() : wake()));
      watcher.on("error", goDeaf);
    } catch {
      // There is no such file yet, or the system has no watches left: the slow poll remains.
      this.#isDeaf = true;
    }
    return () => watcher?.close();
  }

  /** Ends operations that wait for other processes; they fail. */
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

  /** Returns the database; null if there is none yet and nothing is to be written. */
  async #opened(patiently: Patience, forWriting = this.#access === "write"): Promise<StoreDatabase | null> {
    if (this.#database !== null) {
      // A deleted or replaced file can still be written to, but no process would ever read it.
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
      // SQLite opens by name: the opened file is the one that was checked before, or was created since.
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

  /** Requires that the store's folder exists, or that nothing exists and it may be created. */
  #checkFolder(forWriting: boolean): void {
    const there = statSync(this.#path, { throwIfNoEntry: false });
    if (there === undefined && forWriting) makeFolder(this.#path, 0o700);
    if (there === undefined || there.isDirectory()) return;
    throw new StoreError(
      "store-unavailable",
      `${this.#path} is a file, but a store is a folder; use --store with another path`,
    );
  }

  #tryToMakeNotifyFile(): void {
    try {
      closeSync(openSync(this.#notifyFile, "a", 0o600));
    } catch {
      // As in announce: watchers fall back to their slow poll.
    }
  }

  /** Runs one operation after the earlier ones have ended. */
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
      // Wrong use (an invalid key) is the caller's error, not SQLite's or the disk's.
      if (error instanceof RangeError) throw error;
      // After a database error (a full disk, for example) the next use opens another connection.
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

/**
 * Refuses a store of before 0.1, which was an lmdb database: a new one beside it would silently begin at revision 1.
 * @throws StoreError `store-version`
 */
function refuseOlderStore(path: string, dataFile: string): void {
  if (!existsSync(join(path, "data.mdb")) || existsSync(dataFile)) return;
  throw new StoreError(
    "store-version",
    `the store at ${path} was written by an earlier ztap (data.mdb), and this one keeps its store in another format; use the version of ztap that wrote it, or move the store away and apply the policy again`,
  );
}
