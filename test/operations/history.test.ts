/** Revisions and versions as the store keeps them: what was pruned is said, and not guessed at. */
import t from "tap";
import type { Test } from "tap";
import { systemClock } from "../../src/adapters/system/clock.js";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import type { Store } from "../../src/interfaces/store.js";
import { readHistory } from "../../src/operations/policy/history.js";
import { listRevisions } from "../../src/operations/policy/revisions.js";
import { commitOnHead } from "../contract/store-commits.js";
import { draft, namespace, policy } from "../fakes/objects.js";

const WEB = { namespace: "default", name: "web" };
const at = (day: number) => ({
  time: `2026-01-0${day}T00:00:00.000Z`,
  reason: `apply: day ${day}`,
  author: `ada${day}`,
});

/** Revision 1 makes web, 2 another object, 3 changes web, 4 makes a third object. */
async function fourRevisions(t: Test): Promise<Store> {
  const store = openMemoryStore(systemClock);
  t.teardown(() => store.close());
  await commitOnHead(store, draft([policy("web", 1)], at(1)));
  await commitOnHead(store, draft([policy("web", 1), namespace("a")], at(2)));
  await commitOnHead(store, draft([policy("web", 3), namespace("a")], at(3)));
  await commitOnHead(store, draft([policy("web", 3), namespace("b")], at(4)));
  return store;
}

const keepNewest = (store: Store, revisions: number) =>
  store.prune({ revisions, newerThan: "2027-01-01T00:00:00.000Z" });

t.test("revisions: number, author, reason and number of changes", async (t) => {
  const store = await fourRevisions(t);
  const { revisions, pruned } = await listRevisions(store);
  t.equal(pruned, false);
  t.same(
    revisions.map(({ number, author, changes }) => [number, author, changes]),
    [
      [4, "ada4", { create: 1, update: 0, delete: 1 }],
      [3, "ada3", { create: 0, update: 1, delete: 0 }],
      [2, "ada2", { create: 1, update: 0, delete: 0 }],
      [1, "ada1", { create: 1, update: 0, delete: 0 }],
    ],
  );
  await keepNewest(store, 2);
  t.match(await listRevisions(store), {
    pruned: true,
    revisions: [
      { number: 4, changes: { create: 1 } },
      { number: 3, changes: null },
    ],
  });
  t.same(await listRevisions(openMemoryStore(systemClock)), { revisions: [], pruned: false });
});

t.test("versions: all of them while nothing is pruned", async (t) => {
  const store = await fourRevisions(t);
  t.match(await readHistory(store, WEB), {
    pruned: false,
    versions: [
      { version: 2, action: "updated", revision: 3, reason: "apply: day 3" },
      { version: 1, action: "created", revision: 1 },
    ],
  });
});

t.test("whether a version was new in the oldest kept revision is unknown", async (t) => {
  const store = await fourRevisions(t);
  await keepNewest(store, 2);
  const { versions, pruned } = await readHistory(store, WEB);
  t.equal(pruned, true);
  t.match(versions, [{ version: 2, action: null, revision: 3, author: "ada3", reason: "apply: day 3" }]);
});

t.test("a version whose own revision was pruned keeps only its own fields", async (t) => {
  const store = await fourRevisions(t);
  await keepNewest(store, 1);
  const { versions, pruned } = await readHistory(store, WEB);
  t.equal(pruned, true);
  t.match(versions, [
    { version: 2, action: null, revision: null, commit: null, author: null, reason: null, updatedAt: at(3).time },
  ]);
});

t.test("version 1 is the first, even if its revision was pruned", async (t) => {
  const store = await fourRevisions(t);
  await commitOnHead(store, draft([policy("web", 3), policy("db", 1)], at(5)));
  await commitOnHead(store, draft([policy("web", 3), policy("db", 1), namespace("c")], at(6)));
  await keepNewest(store, 1);
  t.match(await readHistory(store, { namespace: "default", name: "db" }), {
    pruned: false,
    versions: [{ version: 1, action: "created", revision: null, author: null }],
  });
});

t.test("the history of a deleted policy whose revisions were all pruned", async (t) => {
  const store = await fourRevisions(t);
  await commitOnHead(store, draft([namespace("b")], at(5)));
  t.match((await readHistory(store, WEB)).versions[0], { action: "deleted", version: 2, revision: 5, author: "ada5" });
  await keepNewest(store, 1);
  await t.rejects(readHistory(store, WEB), { code: "not-found", message: /deleted after version 2/ });
});
