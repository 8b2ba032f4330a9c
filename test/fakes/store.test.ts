/** The fakes between a loop and its store are stores themselves, as long as no fault is on. */
import { MemoryTable, openMemoryStore } from "../../src/adapters/memory/store.js";
import { leaseTime } from "../contract/store-local.js";
import { storeContract } from "../contract/store.js";
import { ManualClock } from "./clock.js";
import { FaultyStore } from "./store.js";

await storeContract("a faulty store without a fault", async (test) => {
  const clock = new ManualClock();
  const table = new MemoryTable();
  const open = () => new FaultyStore(openMemoryStore(clock, table));
  await test({
    store: open(),
    time: leaseTime(clock),
    open: async () => open(),
    damage: async (key, value) => {
      if (value === null) table.remove(key);
      else table.put(key, value);
    },
  });
});
