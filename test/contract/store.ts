/**
 * What every Store guarantees: one suite for each adapter. An adapter gives each case a fresh, empty
 * store, further handles on it as other processes would have them, leases that run out when the case
 * lets them, and a way to damage what is stored.
 */
import t from "tap";
import type { Store } from "../../src/interfaces/store.js";
import type { WithBench } from "./bench.js";
import { clusterCases } from "./store-cluster.js";
import { commitCases } from "./store-commits.js";
import { endpointCases } from "./store-endpoints.js";
import { outboxCases } from "./store-outbox.js";
import { recordCases } from "./store-records.js";
import { rolloutCases } from "./store-rollouts.js";
import { watchCases } from "./store-watch.js";

/** @param withBench makes a bench, hands it to the case, and clears it away, also where the case fails */
export async function storeContract(name: string, withBench: WithBench): Promise<void> {
  await t.test(`store: ${name}`, async (t) => {
    for (const { title, run } of [
      ...commitCases,
      ...watchCases,
      ...clusterCases,
      ...recordCases,
      ...endpointCases,
      ...rolloutCases,
      ...outboxCases,
    ]) {
      await t.test(title, (t) =>
        withBench(async (bench) => {
          const opened: Store[] = [bench.store];
          const open = async (): Promise<Store> => {
            const store = await bench.open();
            opened.push(store);
            return store;
          };
          try {
            await run(t, {
              store: bench.store,
              time: bench.time,
              damage: (key, value) => bench.damage(key, value),
              open,
            });
          } finally {
            for (const store of opened) await store.close();
          }
        }),
      );
    }
  });
}
