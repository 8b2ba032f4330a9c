/**
 * Key-value store: text under keys, in one process or one machine, with transactions. An adapter implements it, and
 * LocalStore is built on it. Guarantees that LocalStore relies on:
 *  - `read` sees one snapshot; concurrent writes and prunes are not seen;
 *  - `write` is one transaction, exclusive among all processes: all of it survives any crash once it has returned, and
 *    none of it if `work` or the commit throws; `work` is called once, and runs without a pause;
 *  - failures are StoreErrors.
 */

export interface KeyValueReader {
  get(key: string): string | undefined;
  /** Returns the keys that begin with the prefix and their values, in the order of the keys. */
  entries(prefix: string): Iterable<readonly [key: string, value: string]>;
}

export interface KeyValueWriter extends KeyValueReader {
  put(key: string, value: string): void;
  remove(key: string): void;
}

export interface KeyValueStore {
  readonly backend: string;
  /** Interval, in milliseconds, at which a watcher polls in case a notification was lost. */
  readonly pollMs: number;
  read<T>(work: (reader: KeyValueReader) => T): Promise<T>;
  write<T>(work: (writer: KeyValueWriter) => T): Promise<T>;
  /** Notifies the listeners of every process that has the store open. */
  announce(): void;
  /** Calls `wake` on every announcement, also when in doubt, until the returned function is called. */
  listen(wake: () => void): () => void;
  close(): Promise<void>;
}
