import { MemoryTable, openMemoryStore } from "../../src/adapters/memory/store.js";
import { storeContract } from "../contract/store.js";
import { ManualClock } from "../fakes/clock.js";

storeContract("memory", async (test) => {
  const clock = new ManualClock();
  const shared = new MemoryTable();
  await test({
    store: openMemoryStore(clock, shared),
    clock,
    open: async () => openMemoryStore(clock, shared),
    damage: async (key, value) => (value === null ? shared.remove(key) : shared.put(key, value)),
  });
});
