/**
 * The store in memory: `memory:`. One process; gone when it ends. Handles on the same MemoryTable share one store, as
 * several agents and commands share one on disk.
 */
import { LocalStore } from "../../store/local/local-store.js";
import type { KeyValueStore, KeyValueWriter } from "../../store/local/key-value.js";
import type { Store } from "../../interfaces/store.js";
import type { Clock } from "../../interfaces/system.js";

/** Listeners are called directly, so that polling is only a formality. */
const POLL_MS = 60_000;

/** Text under keys in two levels: the part up to the first slash, then the whole key. */
export class MemoryTable implements KeyValueWriter {
  readonly #groups = new Map<string, Map<string, string>>();
  readonly #listeners = new Set<() => void>();

  get(key: string): string | undefined {
    return this.#group(key).get(key);
  }

  entries(prefix: string): Iterable<readonly [string, string]> {
    return [...this.#group(prefix)].filter(([key]) => key.startsWith(prefix)).sort(([a], [b]) => (a < b ? -1 : 1));
  }

  put(key: string, value: string): void {
    this.#group(key).set(key, value);
  }

  remove(key: string): void {
    this.#group(key).delete(key);
  }

  /** Runs `work`, and undoes its writes if it throws. */
  write<T>(work: (writer: KeyValueWriter) => T): T {
    const before: (readonly [string, string | undefined])[] = [];
    const remember = (key: string): void => {
      before.push([key, this.get(key)]);
    };
    try {
      return work({
        get: (key) => this.get(key),
        entries: (prefix) => this.entries(prefix),
        put: (key, value) => {
          remember(key);
          this.put(key, value);
        },
        remove: (key) => {
          remember(key);
          this.remove(key);
        },
      });
    } catch (error) {
      for (const [key, value] of before.reverse()) {
        if (value === undefined) this.remove(key);
        else this.put(key, value);
      }
      throw error;
    }
  }

  announce(): void {
    for (const wake of this.#listeners) wake();
  }

  listen(wake: () => void): () => void {
    this.#listeners.add(wake);
    return () => this.#listeners.delete(wake);
  }

  #group(key: string): Map<string, string> {
    const slash = key.indexOf("/");
    const name = slash < 0 ? key : key.slice(0, slash);
    const group = this.#groups.get(name) ?? new Map<string, string>();
    if (group.size === 0) this.#groups.set(name, group);
    return group;
  }
}

/** Opens a handle on the store in `shared`; closing it leaves the others open. */
export function openMemoryStore(clock: Clock, shared: MemoryTable = new MemoryTable()): Store {
  const table: KeyValueStore = {
    backend: "memory",
    pollMs: POLL_MS,
    read: async (work) => work(shared),
    write: async (work) => shared.write(work),
    announce: () => shared.announce(),
    listen: (wake) => shared.listen(wake),
    close: () => Promise.resolve(),
  };
  return new LocalStore(table, clock);
}
