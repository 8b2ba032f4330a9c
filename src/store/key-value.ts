/**
 * Table: text under keys, in one process or one machine, with transactions. What an adapter gives
 * LocalStore to stand on. Guarantees that LocalStore relies on:
 *  - `read` sees one snapshot; a write that happens meanwhile, and a prune, are not seen;
 *  - `write` is one transaction, alone among all processes: all of it survives any crash once it
 *    has returned, and none of it where `work` or the commit throws; `work` is called once, and runs without a pause;
 *  - failures are StoreErrors.
 */

export interface KeyValueReader {
  get(key: string): string | undefined;
  /** Keys that begin with the prefix and their values, in the order of the keys. */
  entries(prefix: string): Iterable<readonly [key: string, value: string]>;
}

export interface KeyValueWriter extends KeyValueReader {
  put(key: string, value: string): void;
  remove(key: string): void;
}

export interface KeyValueStore {
  readonly backend: string;
  /** How often a watcher looks by itself, in milliseconds, in case no wake-up came. */
  readonly pollMs: number;
  read<T>(work: (reader: KeyValueReader) => T): Promise<T>;
  write<T>(work: (writer: KeyValueWriter) => T): Promise<T>;
  /** Wakes the listeners of every process that has the table open. */
  announce(): void;
  /** Calls `wake` on every announcement, also when in doubt, until the returned function is called. */
  listen(wake: () => void): () => void;
  close(): Promise<void>;
}
