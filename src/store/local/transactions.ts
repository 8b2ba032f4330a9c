/** Transactions on a key-value store that can be closed, and the watch of what they changed. */
import { Notifier } from "../../interfaces/notifier.js";
import { StoreError, type ChangeKind, type StoreEvent } from "../../interfaces/store.js";
import type { Clock } from "../../interfaces/system.js";
import { keys } from "../keys.js";
import { isSignalRecord, type SignalRecord } from "../records.js";
import type { KeyValueReader, KeyValueStore, KeyValueWriter } from "./key-value.js";
import { headOf, optionalRecord } from "./lookup.js";

export class Transactions {
  /** Ends the watches of this handle. */
  readonly #closing = new AbortController();

  constructor(
    private readonly table: KeyValueStore,
    readonly clock: Clock,
  ) {}

  async read<T>(work: (reader: KeyValueReader) => T): Promise<T> {
    this.#refuseClosed();
    return this.table.read(work);
  }

  async write<T>(work: (writer: KeyValueWriter) => T): Promise<T> {
    this.#refuseClosed();
    return this.table.write(work);
  }

  /** Writes, and notifies the watchers of `kind` if `work` returns true, which says that it changed something. */
  async change(kind: keyof SignalRecord, work: (writer: KeyValueWriter) => boolean): Promise<boolean> {
    const changed = await this.write((writer) => {
      const isChange = work(writer);
      if (isChange) signalChange(writer, kind);
      return isChange;
    });
    if (changed) this.announce();
    return changed;
  }

  /** Notifies the watchers of every process; they read for themselves which kind of record changed. */
  announce(): void {
    this.table.announce();
  }

  async *watch(signal: AbortSignal, kinds: readonly ChangeKind[]): AsyncGenerator<StoreEvent, void, undefined> {
    const ended = AbortSignal.any([signal, this.#closing.signal]);
    if (ended.aborted) return;
    const notifier = new Notifier();
    const stopListening = this.table.listen(() => notifier.notify());
    // Here and not only at the end, since a caller that aborts may never request another event.
    ended.addEventListener("abort", stopListening);
    // Closing the store ends the watch, even while it reads.
    const look = (): Promise<Signals | null> =>
      this.read(signalsOf).catch((error: unknown) => {
        if (ended.aborted) return null;
        throw error;
      });
    const isOver = (): boolean => ended.aborted;
    try {
      let seen = await look();
      if (seen === null) return;
      yield { changed: "head" };
      while (!isOver()) {
        const now = await look();
        if (now === null) return;
        for (const changed of kinds) {
          if (now[changed] !== seen[changed] && !isOver()) yield { changed };
        }
        seen = now;
        await notifier.wait(ended, { ms: this.table.pollMs, clock: this.clock });
      }
    } finally {
      ended.removeEventListener("abort", stopListening);
      stopListening();
    }
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    await this.table.close();
  }

  #refuseClosed(): void {
    if (this.#closing.signal.aborted) throw new StoreError("store-unavailable", "the store was closed");
  }
}

/** Makes the watchers see a change of `kind`, once it is announced. */
export function signalChange(writer: KeyValueWriter, kind: keyof SignalRecord): void {
  const old = optionalRecord(writer, keys.signals, isSignalRecord) ?? { status: 0, members: 0 };
  writer.put(keys.signals, JSON.stringify({ ...old, [kind]: (old[kind] ?? 0) + 1 }));
}

type Signals = { readonly [kind in ChangeKind]: number | string | null };

function signalsOf(reader: KeyValueReader): Signals {
  const signals = optionalRecord(reader, keys.signals, isSignalRecord);
  const { status = 0, members = 0, endpoints = 0, polls = 0, overrides = 0 } = signals ?? {};
  // A rollout belongs to head; it may change alone.
  const head = `${headOf(reader) ?? ""} ${reader.get(keys.rollout) ?? ""}`;
  return { head, status, members, endpoints, polls, overrides };
}
