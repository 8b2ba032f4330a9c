/** What a store of one machine guarantees besides: its leases go by the machine's clock, to the millisecond. */
import t from "tap";
import type { Test } from "tap";
import type { Store } from "../../src/interfaces/store.js";
import type { ManualClock } from "../fakes/clock.js";
import type { LeaseTime } from "./bench.js";

type LocalCase = (t: Test, store: Store, clock: ManualClock) => Promise<void>;

/** Leases that run out when the clock is moved. */
export function leaseTime(clock: ManualClock): LeaseTime {
  return { ttlMs: 1000, nearly: async () => clock.advance(999), expire: async () => clock.advance(1000) };
}

const cases: Readonly<Record<string, LocalCase>> = {
  async "a heartbeat lives for its time to live, and is dead one millisecond later"(t, store, clock) {
    const heartbeat = { id: "n1", address: "a:1", holder: "h1" };
    await store.heartbeat(heartbeat, 1000);
    clock.advance(999);
    t.match(await store.listHeartbeats(), [{ alive: true }]);
    await store.heartbeat(heartbeat, 1000);
    const lastSeen = new Date(clock.now()).toISOString();
    clock.advance(1000);
    t.same(await store.listHeartbeats(), [{ id: "n1", address: "a:1", lastSeen, alive: false }]);
  },
  async "terms count from one"(t, store, clock) {
    t.match(await store.campaign({ id: "a", holder: "a1" }, 1000), { fence: { term: 1 } });
    clock.advance(999);
    t.match(await store.campaign({ id: "b", holder: "b1" }, 1000), { fence: null });
    clock.advance(1);
    t.match(await store.campaign({ id: "b", holder: "b1" }, 1000), { fence: { term: 2 } });
  },
  async "the wall clock set back does not keep a dead holder for as long"(t, store, clock) {
    await store.heartbeat({ id: "n1", address: "a:1", holder: "h1" }, 1000);
    await store.campaign({ id: "n1", holder: "h1" }, 1000);
    clock.setWall(clock.now() - 86_400_000);
    t.same(await store.heartbeat({ id: "n1", address: "a:1", holder: "h2" }, 1000), { held: null });
    t.match(await store.campaign({ id: "n2", holder: "h2" }, 1000), { fence: { leader: "n2", term: 2 } });
  },
};

/** @param withStore makes a store that goes by the clock, and clears it away afterwards */
export async function localStoreContract(
  name: string,
  withStore: (run: (store: Store, clock: ManualClock) => Promise<void>) => Promise<void>,
): Promise<void> {
  await t.test(`store of one machine: ${name}`, async (t) => {
    for (const [title, run] of Object.entries(cases))
      await t.test(title, (t) => withStore(async (store, clock) => run(t, store, clock)));
  });
}
