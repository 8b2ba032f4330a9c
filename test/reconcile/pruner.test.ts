import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { Pruner } from "../../src/reconcile/pruner.js";
import { commitOnHead } from "../contract/store-commits.js";
import { silentLogger } from "../fakes/ambient.js";
import { ManualClock } from "../fakes/clock.js";
import { draft, policy } from "../fakes/objects.js";
import { FaultyStore } from "../fakes/store.js";

const HOUR_MS = 3_600_000;

async function setUp() {
  const clock = new ManualClock(Date.UTC(2026, 0, 10));
  const store = openMemoryStore(clock);
  for (let day = 1; day <= 6; day += 1)
    await commitOnHead(store, draft([policy("web", day)], { time: `2026-01-0${day}T00:00:00.000Z` }));
  const numbers = async () => (await store.listRevisions({ limit: 10 })).map(({ number }) => number);
  return { clock, store, numbers };
}

t.test("what is beyond both bounds goes, once an hour", async (t) => {
  const { clock, store, numbers } = await setUp();
  const options = { keepRevisions: 2, keepForMs: 6.5 * 24 * HOUR_MS };
  const pruner = new Pruner({ store, clock, logger: silentLogger }, options);
  await pruner.run();
  t.same(await numbers(), [6, 5, 4], "the younger ones stay, although they are more than two");
  clock.advance(HOUR_MS - 1);
  clock.setWall(Date.UTC(2027, 0, 1));
  await pruner.run();
  t.same(await numbers(), [6, 5, 4], "not yet");
  clock.advance(1);
  await pruner.run();
  t.same(await numbers(), [6, 5], "two stay, whatever their age");
});

t.test("a prune that fails stops nothing, and is tried again an hour later", async (t) => {
  const { clock, store, numbers } = await setUp();
  const failing = new FaultyStore(store);
  failing.cutOff();
  const pruner = new Pruner({ store: failing, clock, logger: silentLogger }, { keepRevisions: 1, keepForMs: 1 });
  await pruner.run();
  t.equal((await numbers()).length, 6);
  failing.mend();
  clock.advance(HOUR_MS);
  await pruner.run();
  t.same(await numbers(), [6]);
});
