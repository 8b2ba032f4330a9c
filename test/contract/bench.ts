/** What the store's contract works on. */
import type { Test } from "tap";
import type { Store } from "../../src/interfaces/store.js";

/** How time passes for leases: by a clock that is moved, or for real where the leases are a server's. */
export interface LeaseTime {
  /** What the cases ask for. */
  readonly ttlMs: number;
  /** Lets a good part of that time pass, and not all of it. */
  nearly(): Promise<void>;
  /** Lets it pass until everything that was not renewed meanwhile has run out. */
  expire(): Promise<void>;
}

export interface Bench {
  readonly store: Store;
  readonly time: LeaseTime;
  /** Another handle on the same store, as another process would have it. The suite closes it. */
  open(): Promise<Store>;
  /** Replaces, or with null removes, what is stored under a key of the layout, behind the store's back. */
  damage(key: string, value: string | null): Promise<void>;
}

/** A bench without the suite's bookkeeping: what an adapter gives. */
export type WithBench = (test: (bench: Bench) => Promise<void>) => Promise<void>;

export interface StoreCase {
  readonly title: string;
  run(t: Test, bench: Bench): Promise<void>;
}
