import t, { type Test } from "tap";
import { MemoryTable, openMemoryStore } from "../../src/adapters/memory/store.js";
import { openEmbeddedStore } from "../../src/adapters/embedded/store.js";
import { openEtcdStore } from "../../src/adapters/etcd/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { ElectionNode, LeaderElection } from "../../src/api/election.js";
import { createElection } from "../../src/api/election.js";
import { createPolicySync } from "../../src/api/policy-sync.js";
import type { Store } from "../../src/interfaces/store.js";
import { StoreError } from "../../src/interfaces/store.js";
import { policy } from "../builders/state.js";
import { withEtcd, whyNoEtcd } from "../etcd/server.js";
import { inFolder } from "../fakes/repository.js";
import { FaultyStore } from "../fakes/store.js";
import { waitUntil } from "../wait.js";

const QUICK = { ttlMs: 400, heartbeatIntervalMs: 20 };
/** Where leadership changes hands by stopping: a disk that takes half a minute to flush must not end it before. */
const LASTING = { ttlMs: 600_000, heartbeatIntervalMs: 20 };
const OPEN = policy("web", "  podSelector: {}\n  ingress: [{}]");
const WEB = policy("web", "  podSelector: {}\n  ingress: []");

/** Elections of several nodes of one store, each with a handle of its own; all are stopped with the test. */
function members(t: { teardown(end: () => Promise<void>): unknown }, open: () => Store, times = QUICK) {
  const ends: (() => Promise<void>)[] = [];
  t.teardown(async () => {
    for (const end of ends) await end();
  });
  return (id: string): { election: LeaderElection; store: Store } => {
    const store = open();
    const election = createElection(store, { id, address: `${id}:1`, ...times });
    ends.push(async () => {
      await election.stop().catch(() => undefined);
      await store.close();
    });
    return { election, store };
  };
}

const agree = (elections: readonly LeaderElection[], id: string) =>
  waitUntil(() => elections.every((election) => election.leader()?.id === id), { what: `all to follow ${id}` });

t.test("in memory the first healthy node by ID leads, and only that node reports to lead", async (t) => {
  const table = new MemoryTable();
  const member = members(t, () => openMemoryStore(systemClock, table));
  const [b, c, a] = ["b", "c", "a"].map(member);
  if (a === undefined || b === undefined || c === undefined) throw new Error("three were made");
  await c.election.start();
  t.equal(c.election.isLeader(), true, "at once");
  await b.election.start();
  await agree([b.election, c.election], "b");
  await waitUntil(() => b.election.isLeader(), { what: "b to lead" });
  await a.election.start();
  const all = [a, b, c].map(({ election }) => election);
  await agree(all, "a");
  await waitUntil(() => a.election.isLeader(), { what: "a to lead" });
  t.same(
    all.map((election) => election.isLeader()),
    [true, false, false],
  );
  t.same(c.election.leader(), { id: "a", address: "a:1" });
  await a.election.stop();
  t.equal(a.election.isLeader(), false);
  t.equal(a.election.leader(), null, "who does not take part knows nothing");
  await agree([b.election, c.election], "b");
  await waitUntil(() => b.election.isLeader(), { what: "b to lead again" });
  t.equal((await b.store.listMembers()).length, 3, "who stops stays a member");
});

t.test("a registered node is healthy until its lease expires", async (t) => {
  const member = members(t, () => openMemoryStore(systemClock, new MemoryTable()));
  const { election, store } = member("b");
  await election.start();
  const seen: (string | undefined)[] = [];
  const watching = new AbortController();
  const watched = (async () => {
    for await (const leader of election.watch(watching.signal)) seen.push(leader?.id);
  })();
  await election.registerNode({ id: "a", address: "a:1" });
  t.equal(election.isLeader(), false);
  const sync = createPolicySync(store, { node: "b", election });
  await t.rejects(sync.syncPolicy(WEB, { name: "web" }), { code: "not-leader", message: /a \(a:1\)/ });
  await waitUntil(() => election.isLeader(), { what: "the end of what a was given" });
  t.match(await sync.syncPolicy(WEB, { name: "web" }), { version: 1, changed: true });
  t.equal(await election.deregisterNode("a"), true);
  t.equal(await election.deregisterNode("a"), false);
  await t.rejects(election.registerNode({ id: "A!", address: "a:1" }), { code: "usage" });
  await waitUntil(() => seen.length >= 3, { what: "the changes" });
  watching.abort();
  await watched;
  t.same(seen, ["b", "a", "b"]);
});

async function handsOver(t: Test, open: () => Store | Promise<Store>): Promise<void> {
  const [first, second] = [await open(), await open()];
  const [b, a] = [members(t, () => first, LASTING)("b"), members(t, () => second, LASTING)("a")];
  await b.election.start();
  await a.election.start();
  await agree([a.election, b.election], "b");
  t.same([a.election.isLeader(), b.election.isLeader()], [false, true]);
  await t.rejects(createPolicySync(a.store, { node: "a" }).syncPolicy(WEB, { name: "web" }), { code: "not-leader" });
  t.match(await createPolicySync(b.store, { node: "b" }).syncPolicy(WEB, { name: "web" }), { version: 1 });
  t.equal(b.election.isLeader(), true, "a write does not end its leadership");
  await b.election.stop();
  await agree([a.election], "a");
  t.equal(a.election.isLeader(), true);
  await a.election.stop();
  const policies = createPolicySync(b.store, { node: "b" });
  t.match(await policies.syncPolicy(OPEN, { name: "web" }), { version: 2 }, "nobody leads: let in for one commit");
  t.equal(await b.store.readLeader(), null);
  await Promise.all([a.store.close(), b.store.close()]);
}

t.test("on the embedded store the winner of the election leads, and another node leads when it stops", (t) =>
  inFolder((path) => handsOver(t, () => openEmbeddedStore({ path, access: "write" }, systemClock))),
);

t.test("the same on etcd", { skip: whyNoEtcd() ?? false }, (t) =>
  withEtcd({ flags: ["--heartbeat-interval=10", "--election-timeout=100"] }, ({ endpoints }) =>
    handsOver(t, () =>
      openEtcdStore({ endpoints, prefix: "api/", tls: null, auth: null, timeoutMs: 5000 }, systemClock, 0),
    ),
  ),
);

t.test("a second program for the same node is refused, and the first keeps its lease", async (t) => {
  const table = new MemoryTable();
  const member = members(t, () => openMemoryStore(systemClock, table));
  const [one, two] = [member("a"), member("a")];
  await one.election.start();
  await t.rejects(two.election.start(), { code: "agent-running" });
  t.equal(one.election.isLeader(), true);
  await two.election.stop();
  await waitUntil(async () => (await one.store.listHeartbeats()).every(({ alive }) => alive), {
    what: "its heartbeat",
  });
});

t.test("a node that loses its connection to the store stops leading, and watchers learn of it", async (t) => {
  const store = new FaultyStore(openMemoryStore(systemClock));
  const { election } = members(t, () => store)("a");
  await election.start();
  const leaders: (ElectionNode | null)[] = [];
  const watching = new AbortController();
  const watched = (async () => {
    for await (const leader of election.watch(watching.signal)) leaders.push(leader);
  })();
  const away = new StoreError("store-unavailable", "the store is away");
  store.refuse = (call) => (call === "heartbeat" ? away : null);
  await waitUntil(() => !election.isLeader(), { what: "the end of leadership" });
  await waitUntil(() => leaders.at(-1) === null, { what: "the word of it" });
  store.mend();
  await waitUntil(() => election.isLeader(), { what: "leadership again" });
  watching.abort();
  await watched;
  t.same(leaders.slice(0, 2), [{ id: "a", address: "a:1" }, null]);
});
