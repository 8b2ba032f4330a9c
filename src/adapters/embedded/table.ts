/**
 * The embedded store's table: an lmdb database in a folder of its own.
 *
 *     data.mdb  lock.mdb    lmdb's files; many processes may have them open at once
 *     notify                touched after each commit that others should know of; watched by all
 *
 * Each write is one lmdb transaction, flushed to disk before it returns: it survives SIGKILL and
 * loss of power whole, or never happened. lmdb's write lock is robust: a writer that is killed frees
 * it. A writer that is stopped (SIGSTOP) inside its milliseconds keeps it until it continues.
 * A full disk makes a write fail whole; head and everything committed before stay readable.
 */
import {
  accessSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  statSync,
  utimesSync,
  watch,
  type FSWatcher,
} from "node:fs";
import { dirname, join } from "node:path";
import { open, type RootDatabase } from "lmdb";
import { StoreError } from "../../ports/store.js";
import type { Clock } from "../../ports/system.js";
import { keys, STORE_FORMAT } from "../../store/keys.js";
import type { Table, TableReader, TableWriter } from "../../store/table.js";
import { damaged, storeFailure } from "./failure.js";
import { refuseBrokenFile } from "./inspect.js";

/**
 * Address space that is reserved, and so the bound of the store's size; no memory and no disk is
 * used for what is not filled. One bound for all processes: none has to map again what another grew.
 */
const MAP_SIZE = 2 ** 36;
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
   * permission to read data.mdb and to write lock.mdb, in which lmdb notes who reads. `change` reads
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
  #database: RootDatabase<string, string> | null = null;
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
      if (database === null) return work(EMPTY);
      // lmdb keeps a snapshot for the rest of the event-loop turn; what other processes committed
      // meanwhile has to be seen, so every read begins a new one.
      database.resetReadTxn();
      const transaction = database.useReadTransaction();
      try {
        return work({
          get: (key) => database.get(key, { transaction }),
          entries: (prefix) =>
            database
              .getRange({ start: prefix, end: `${prefix}\uffff`, transaction })
              .map(({ key, value }) => [key, value] as const),
        });
      } finally {
        transaction.done();
      }
    });
  }

  write<T>(work: (writer: TableWriter) => T): T {
    if (this.#access === "read")
      throw new StoreError("store-permission", `the store at ${this.#path} was opened for reading only`);
    return this.#guarded(() => {
      const database = this.#opened(true);
      if (database === null) throw new StoreError("store-unavailable", `the store at ${this.#path} is gone`);
      return database.transactionSync(() => work(writerOn(database)));
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
    await database?.close();
  }

  get #notifyFile(): string {
    return join(this.#path, "notify");
  }

  /** The database; null where there is none yet and nothing is to be written. */
  #opened(forWriting = this.#access === "write"): RootDatabase<string, string> | null {
    if (this.#database !== null) {
      // A file that was deleted or replaced can still be written to, and nobody would ever read it.
      if (identityOf(join(this.#path, "data.mdb")) === this.#identity) return this.#database;
      throw new StoreError(
        "store-unavailable",
        `the store at ${this.#path} was deleted or replaced while it was in use; start this process again`,
      );
    }
    refuseForeignFolder(this.#path);
    if (forWriting) this.#makeFolder();
    const dataFile = join(this.#path, "data.mdb");
    const exists = refuseBrokenFile(dataFile);
    if (!exists && !forWriting) return null;
    if (this.#access === "read") refuseUnnotedReader(join(this.#path, "lock.mdb"));
    const database = open<string, string>({
      path: this.#path,
      noSubdir: false,
      encoding: "string",
      overlappingSync: false,
      mapSize: MAP_SIZE,
      // lmdb gives a process one environment for a file, whoever opens it: one that was opened for
      // reading alone would refuse a writer in the same process.
      readOnly: this.#access === "read" && !isWritable(dataFile),
      // The type that lmdb publishes does not know this option; files are made with it.
      ...{ permissionsMode: 0o600 },
    });
    if (!this.#isReady(database)) {
      void database.close();
      return null;
    }
    if (this.#access !== "read") this.#tryToMakeNotifyFile();
    this.#database = database;
    this.#identity = identityOf(dataFile);
    return database;
  }

  /** False for a store that another process is making at this moment. @throws StoreError `store-version`, `store-damaged` */
  #isReady(database: RootDatabase<string, string>): boolean {
    const format =
      this.#access === "read" ? database.get(keys.format) : database.transactionSync(() => claimFormat(database));
    if (format === STORE_FORMAT) return true;
    if (format === undefined && isEmptyDatabase(database)) return false;
    void database.close();
    if (format === undefined) throw damaged(this.#path, "the database holds something else");
    throw new StoreError(
      "store-version",
      `the store at ${this.#path} has the format ${JSON.stringify(format.slice(0, 40))} and this ztap knows ${STORE_FORMAT}; use the version of ztap that wrote it, or move the store away and apply the policy again`,
    );
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
      // Wrong use (a key that cannot be one) is the caller's, and neither lmdb's nor the disk's.
      if (error instanceof RangeError) throw error;
      // After a failure of its own (a full disk, say) lmdb may refuse the handle: the next use opens another.
      if (!(error instanceof StoreError)) {
        void this.#database?.close();
        this.#database = null;
      }
      throw storeFailure(error, this.#path);
    }
  }
}

/**
 * Where it may not write the lock file, lmdb reads without noting it, and a writer may then use the
 * pages that are being read. Only on a file system that nobody can write to is that no harm.
 */
function refuseUnnotedReader(lockFile: string): void {
  try {
    accessSync(lockFile, constants.R_OK | constants.W_OK);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT") return accessSync(dirname(lockFile), constants.W_OK);
    if (code !== "EROFS") throw error;
  }
}

function isWritable(file: string): boolean {
  try {
    accessSync(file, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function isEmptyDatabase(database: RootDatabase<string, string>): boolean {
  return [...database.getKeys({ limit: 1 })].length === 0;
}

/** Notes the format in a database that holds nothing yet; returns what stands there. */
function claimFormat(database: RootDatabase<string, string>): string | undefined {
  const format = database.get(keys.format);
  if (format !== undefined || !isEmptyDatabase(database)) return format;
  void database.put(keys.format, STORE_FORMAT);
  return STORE_FORMAT;
}

/** Inside a transaction lmdb puts and removes at once; the promises that it returns are settled. */
/**
 * Who may write to the folder decides what this machine enforces, and may cut a file short that lmdb has mapped.
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

function writerOn(database: RootDatabase<string, string>): TableWriter {
  return {
    get: (key) => database.get(key),
    entries: (prefix) =>
      database.getRange({ start: prefix, end: `${prefix}\uffff` }).map(({ key, value }) => [key, value] as const),
    put: (key, value) => void database.put(key, value),
    remove: (key) => void database.remove(key),
  };
}

/** Device and inode; null where there is no such file. */
function identityOf(file: string): string | null {
  const stats = statSync(file, { throwIfNoEntry: false });
  return stats === undefined ? null : `${stats.dev}:${stats.ino}`;
}
