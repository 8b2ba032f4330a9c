/**
 * The embedded store's table: an SQLite database in a folder of its own.
 *
 *     store.db           the database; many processes may have it open at once
 *     store.db-journal   there while somebody writes, or after a writer was killed
 *     notify             touched after each commit that others should know of; watched by all
 *
 * Each write is one transaction, flushed to disk before it returns: it survives SIGKILL and loss of power
 * whole, or never happened. A writer that is killed frees its lock. One that is stopped (SIGSTOP) inside its
 * milliseconds keeps it until it continues; the others give up after a minute and say so.
 * A full disk makes a write fail whole; head and everything committed before stay readable.
 *
 * Nothing here opens store.db beside SQLite: to close it would free the locks that this process has on it.
 */
import { closeSync, existsSync, mkdirSync, openSync, statSync, utimesSync, watch, type FSWatcher } from "node:fs";
import { join } from "node:path";
import { StoreError } from "../../ports/store.js";
import type { Clock } from "../../ports/system.js";
import type { Table, TableReader, TableWriter } from "../../store/table.js";
import { openDatabase, type StoreDatabase } from "./database.js";
import { storeFailure } from "./failure.js";

/** The slowest that a commit in another process is noticed where the notify file cannot be watched, and where it can. */
const DEAF_POLL_MS = 1_000;
const POLL_MS = 10_000;
const EMPTY: TableReader = { get: () => undefined, entries: () => [] };

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

export class EmbeddedTable implements Table {
  readonly backend = "embedded";
  /** A watch was refused, or has lost its file. */
  #isDeaf = false;
  readonly #path: string;
  readonly #access: Access;
  readonly #clock: Clock;
  #database: StoreDatabase | null = null;
  /** Device and inode of the file that is open: another one under the same name is another store. */
  #identity: string | null = null;

  /** @throws StoreError `store-permission`, `store-damaged`, `store-version`, `store-unavailable` */
  constructor({ path, access }: EmbeddedOptions, clock: Clock) {
    this.#path = path;
    this.#access = access;
    this.#clock = clock;
    this.#guarded(() => this.#opened());
  }

  read<T>(work: (reader: TableReader) => T): T {
    return this.#guarded(() => {
      const database = this.#opened();
      return database === null ? work(EMPTY) : database.read(work);
    });
  }

  write<T>(work: (writer: TableWriter) => T): T {
    if (this.#access === "read")
      throw new StoreError("store-permission", `the store at ${this.#path} was opened for reading only`);
    return this.#guarded(() => {
      const database = this.#opened(true);
      if (database === null) throw new StoreError("store-unavailable", `the store at ${this.#path} is gone`);
      return database.write(work);
    });
  }

  get pollMs(): number {
    return this.#isDeaf ? DEAF_POLL_MS : POLL_MS;
  }

  announce(): void {
    const now = this.#clock.now() / 1000;
    try {
      utimesSync(this.#notifyFile, now, now);
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

  async close(): Promise<void> {
    const database = this.#database;
    this.#database = null;
    database?.close();
  }

  get #dataFile(): string {
    return join(this.#path, "store.db");
  }

  get #notifyFile(): string {
    return join(this.#path, "notify");
  }

  /** The database; null where there is none yet and nothing is to be written. */
  #opened(forWriting = this.#access === "write"): StoreDatabase | null {
    if (this.#database !== null) {
      // A file that was deleted or replaced can still be written to, and nobody would ever read it.
      if (identityOf(this.#dataFile) === this.#identity) return this.#database;
      throw new StoreError(
        "store-unavailable",
        `the store at ${this.#path} was deleted or replaced while it was in use; start this process again`,
      );
    }
    refuseForeignFolder(this.#path);
    refuseElderStore(this.#path, this.#dataFile);
    if (forWriting) this.#makeFolder();
    const database = openDatabase(this.#dataFile, forWriting ? "write" : "read");
    if (database === null) return null;
    if (this.#access !== "read") this.#tryToMakeNotifyFile();
    this.#database = database;
    this.#identity = identityOf(this.#dataFile);
    return database;
  }

  #makeFolder(): void {
    const there = statSync(this.#path, { throwIfNoEntry: false });
    if (there === undefined) mkdirSync(this.#path, { recursive: true, mode: 0o700 });
    else if (!there.isDirectory())
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

  #guarded<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      // Wrong use (a key that cannot be one) is the caller's, and neither SQLite's nor the disk's.
      if (error instanceof RangeError) throw error;
      // After a failure of the database (a full disk, say) the next use opens another connection.
      if (!(error instanceof StoreError)) {
        this.#database?.close();
        this.#database = null;
      }
      throw storeFailure(error, this.#path);
    }
  }
}

/**
 * Who may write to the folder decides what this machine enforces.
 * Root's folders are anybody's to read from, as far as their modes allow it.
 * @throws StoreError `store-permission`
 */
function refuseForeignFolder(path: string): void {
  const stats = statSync(path, { throwIfNoEntry: false });
  const user = process.geteuid?.();
  if (stats === undefined || !stats.isDirectory() || user === undefined) return;
  // A user's own group is often his alone; root's machine is nobody's but root's.
  const others = user === 0 ? 0o022 : 0o002;
  if ((stats.uid === user || stats.uid === 0) && (stats.mode & others) === 0) return;
  throw new StoreError(
    "store-permission",
    `the folder of the store at ${path} is not this user's alone (owner ${stats.uid}, mode ${(stats.mode & 0o777).toString(8)}): ` +
      "somebody else could put another policy in force; use --store with another folder, or, if you trust what is in it, give it to this user with chown and chmod 700",
  );
}

/** Until 0.1 this was an lmdb database: a new one beside it would silently begin at revision 1. @throws StoreError `store-version` */
function refuseElderStore(path: string, dataFile: string): void {
  if (!existsSync(join(path, "data.mdb")) || existsSync(dataFile)) return;
  throw new StoreError(
    "store-version",
    `the store at ${path} was written by an earlier ztap (data.mdb), and this one keeps its store in another format; use the version of ztap that wrote it, or move the store away and apply the policy again`,
  );
}

/** Device and inode; null where there is no such file. */
function identityOf(file: string): string | null {
  const stats = statSync(file, { throwIfNoEntry: false });
  return stats === undefined ? null : `${stats.dev}:${stats.ino}`;
}
