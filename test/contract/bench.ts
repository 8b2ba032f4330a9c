/** What the store's contract works on. */
import type { Test } from "tap";
import type { Store } from "../../src/ports/store.js";
import type { ManualClock } from "../fakes/clock.js";

export interface Bench {
  readonly store: Store;
  readonly clock: ManualClock;
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
