/** Stores on a real etcd for tests of faults, and what such tests wait with. All of it ends with the test. */
import type { Test } from "tap";
import type { EtcdOptions } from "../../src/adapters/etcd/client.js";
import { openEtcdStore } from "../../src/adapters/etcd/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { StoreError, type ChangeKind, type Store } from "../../src/interfaces/store.js";
import type { Clock } from "../../src/interfaces/system.js";
import { Proxy } from "./proxy.js";
import { waitUntil } from "../wait.js";

/** etcd grants no lease shorter than one and a half of its election time-outs. */
export const QUICK = ["--heartbeat-interval=20", "--election-timeout=200"];

let prefixes = 0;

/** Each call another, so that tests on one etcd do not meet. */
export function newPrefix(): string {
  prefixes += 1;
  return `fault-${process.pid}-${prefixes}/`;
}

export function openStore(
  t: Test,
  endpoints: readonly string[],
  changes: Partial<EtcdOptions> = {},
  clock: Clock = systemClock,
): Store {
  const options = { endpoints, prefix: "ztap/", tls: null, auth: null, timeoutMs: 5000, ...changes };
  const store = openEtcdStore(options, clock, 0);
  t.teardown(() => store.close());
  return store;
}

export async function openProxy(t: Test, target: string): Promise<Proxy> {
  const proxy = await Proxy.start(target);
  t.teardown(() => proxy.close());
  return proxy;
}

/** The real clock, but for sleeps of exactly that length: they take `ms`. */
export function clockThatCuts(length: number, ms: number): Clock {
  return {
    now: () => systemClock.now(),
    monotonic: () => systemClock.monotonic(),
    sleep: (wanted, signal) => systemClock.sleep(wanted === length ? ms : wanted, signal),
  };
}

/** The next thing that changed, of a watch that has begun. */
export async function startWatch(
  t: Test,
  store: Store,
  kinds?: readonly ChangeKind[],
): Promise<() => Promise<ChangeKind | null>> {
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const events = store.watch(stop.signal, kinds)[Symbol.asyncIterator]();
  await events.next();
  return async () => {
    const next = await events.next();
    return next.done === true ? null : next.value.changed;
  };
}

/** Head, as a follower's loop gets it: a read that failed is made again. 0: none. */
export async function followHead(store: Store): Promise<number> {
  const heads: number[] = [];
  await waitUntil(
    async () => {
      try {
        heads.push((await store.readHead()) ?? 0);
      } catch (error) {
        if (!(error instanceof StoreError) || error.code !== "store-unavailable") throw error;
      }
      return heads.length > 0;
    },
    { what: "head" },
  );
  return heads[0] ?? 0;
}
