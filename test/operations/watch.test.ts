import t from "tap";
import { MemoryTable, openMemoryStore } from "../../src/adapters/memory/store.js";
import type { PolicyEvent, WatchOptions } from "../../src/operations/policy/watch.js";
import { watchPolicies } from "../../src/operations/policy/watch.js";
import type { ZtapObject } from "../../src/model/objects.js";
import { watchList } from "../../src/operations/query/watch-list.js";
import { ManualClock } from "../fakes/clock.js";
import { draft, policy } from "../fakes/objects.js";
import { waitUntil } from "../wait.js";

function setUp(t: { teardown(end: () => void): unknown }) {
  const table = new MemoryTable();
  const store = openMemoryStore(new ManualClock(), table);
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const commit = async (...objects: readonly ZtapObject[]) => {
    await store.commit(draft(objects, { node: "n7" }), { expectHead: await store.readHead(), fence: null });
  };
  const watch = (options: WatchOptions = {}) => {
    const events = watchPolicies(store, stop.signal, options);
    return async (count: number): Promise<readonly string[]> => {
      const taken: string[] = [];
      while (taken.length < count) {
        const next = await events.next();
        if (next.done === true) break;
        taken.push(show(next.value));
      }
      return taken;
    };
  };
  return { table, store, stop, commit, watch };
}

const show = ({ action, name, version, revision, sourceNode }: PolicyEvent) =>
  `${action} ${name} v${version} r${revision} ${sourceNode}`;

t.test("watch yields the policies in force, then each later revision, not only the last one", async (t) => {
  const { commit, watch, stop } = setUp(t);
  await commit(policy("a"), policy("b"));
  const take = watch();
  t.same(await take(2), ["current a v1 r1 n7", "current b v1 r1 n7"]);
  await commit(policy("a", 81), policy("b"));
  await commit(policy("a", 82));
  await commit(policy("a", 82), policy("b", 99));
  t.same(await take(4), ["updated a v2 r2 n7", "updated a v3 r3 n7", "deleted b v1 r3 n7", "created b v2 r4 n7"]);
  stop.abort();
  t.same(await take(1), [], "and it ends when it is told to");
});

t.test("on an empty store, watch yields only new policies", async (t) => {
  const { commit, watch } = setUp(t);
  const take = watch({ since: 0 });
  const first = take(1);
  await commit(policy("a"));
  t.same(await first, ["created a v1 r1 n7"]);
});

t.test("from a given revision, watch yields only later changes", async (t) => {
  const { commit, watch, store } = setUp(t);
  await commit(policy("a"));
  await commit(policy("a", 81));
  await commit(policy("a", 81), policy("b"));
  t.same(await watch({ since: 1 })(2), ["updated a v2 r2 n7", "created b v1 r3 n7"]);
  t.same(await watch({ since: 0 })(3), ["created a v1 r1 n7", "updated a v2 r2 n7", "created b v1 r3 n7"]);
  await store.prune({ revisions: 1, newerThan: "2030-01-01T00:00:00.000Z" });
  t.same(await watch({ since: 1 })(2), ["current a v2 r3 n7", "current b v1 r3 n7"], "pruned: listed again");
  t.same(await watch({ since: 99 })(2), ["current a v2 r3 n7", "current b v1 r3 n7"], "never was: listed again");
});

t.test("after the store was replaced, watch lists all policies again", async (t) => {
  const { table, commit, watch } = setUp(t);
  await commit(policy("a"));
  await commit(policy("b"));
  const take = watch();
  t.same(await take(1), ["current b v1 r2 n7"]);
  for (const prefix of ["revisions/", "policies/"]) for (const [key] of [...table.entries(prefix)]) table.remove(key);
  table.remove("head");
  await commit(policy("x"));
  t.same(await take(1), ["current x v1 r1 n7"], "head went back");
  for (const [key] of [...table.entries("revisions/")]) table.remove(key);
  table.remove("head");
  await commit(policy("y"));
  await commit(policy("y", 81));
  t.same(await take(1), ["current y v2 r2 n7"], "another revision of the same number");
});

t.test("a watched list is yielded when it differs, apart from ages, and when no event tells of it", async (t) => {
  const clock = new ManualClock();
  const store = openMemoryStore(clock, new MemoryTable());
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  let ageMs = 0;
  let silent = "";
  const read = async () => ({ head: await store.readHead(), silent, ageMs: (ageMs += 1) });
  const lists = watchList({ store, clock }, read, stop.signal);
  const next = async () => (await lists.next()).value;
  t.match(await next(), { head: null });
  const second = next();
  await store.commit(draft([policy("a")], { node: "n7" }), { expectHead: null, fence: null });
  t.match(await second, { head: 1 }, "an event wakes it");
  const third = next();
  /** Lets time pass until the list was read so many times more. */
  const lookAgain = async (times: number) => {
    const until = ageMs + times;
    const look = () => {
      clock.advance(1000);
      return ageMs;
    };
    await waitUntil(look, { is: (age) => age >= until, what: "another look", timeoutMs: 20_000 });
  };
  await lookAgain(2);
  silent = "changed without an event";
  await lookAgain(1);
  t.match(await third, { silent }, "none of the looks between was news");
  stop.abort();
  t.match(await lists.next(), { done: true });
});
