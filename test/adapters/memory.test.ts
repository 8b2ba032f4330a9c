import { MemoryTable, openMemoryStore } from "../../src/adapters/memory/store.js";
import { storeContract } from "../contract/store.js";
import { leaseTime, localStoreContract } from "../contract/store-local.js";
import { ManualClock } from "../fakes/clock.js";

await storeContract("memory", async (test) => {
  const clock = new ManualClock();
  const shared = new MemoryTable();
  await test({
    store: openMemoryStore(clock, shared),
    time: leaseTime(clock),
    open: async () => openMemoryStore(clock, shared),
    damage: async (key, value) => (value === null ? shared.remove(key) : shared.put(key, value)),
  });
});

await localStoreContract("memory", async (run) => {
  const clock = new ManualClock();
  await run(openMemoryStore(clock), clock);
});
