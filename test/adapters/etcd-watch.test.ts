/** What the watch survives: cut and silent connections, members without a quorum, frozen ones, compaction, lost events. */
import { randomBytes } from "node:crypto";
import t from "tap";
import type { Test } from "tap";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { Store } from "../../src/interfaces/store.js";
import { commitOnHead } from "../contract/store-commits.js";
import { withEtcd, whyNoEtcd, type EtcdCluster } from "../etcd/server.js";
import { clockThatCuts, followHead, newPrefix, openProxy, openStore, QUICK, startWatch } from "../etcd/stores.js";
import { draft, policy } from "../fakes/objects.js";
import { HANG_MS, waitUntil, within } from "../wait.js";

/** As in src/adapters/etcd/watch.ts. */
const REFRESH_MS = 180_000;
const RECONNECT_MS = 500;
const RETRY_MS = 200;

const STATUS = {
  backend: "none",
  attemptedRevision: null,
  enforcedRevision: null,
  rulesetDigest: null,
  state: "Stalled",
  drift: [],
  healed: 0,
  subjects: [],
  observedAt: "2026-01-01T00:00:00.000Z",
} as const;

const why = whyNoEtcd();
const commit = (store: Store, port: number): Promise<number> => commitOnHead(store, draft([policy("web", port)]));

function revisionOf({ ctl }: EtcdCluster): number {
  const answer: { readonly header: { readonly revision: number } } = JSON.parse(ctl("get", "none", "-w", "json"));
  return answer.header.revision;
}

async function onOneMember(t: Test, etcd: EtcdCluster): Promise<void> {
  const [endpoint = ""] = etcd.endpoints;

  await t.test("a follower sees the last of many changes, even if its connection is cut many times", async (t) => {
    const prefix = newPrefix();
    const [writer, proxy] = [openStore(t, [endpoint], { prefix }), await openProxy(t, endpoint)];
    const store = openStore(t, [proxy.endpoint], { prefix });
    const next = await startWatch(t, store);
    const last = 60;
    const followed = (async () => {
      let head = 0;
      while (head < last && (await next()) !== null) head = await followHead(store);
      return head;
    })();
    for (let port = 1; port <= last; port += 1) {
      await commit(writer, port);
      if (port % 20 !== 10) continue;
      // Twice in a row: the second cut meets a connection that has not heard of anything yet.
      const before = proxy.connections;
      proxy.cut();
      await waitUntil(() => proxy.connections > before, { what: "its return" });
      proxy.cut();
    }
    t.equal(await within(followed, { what: "the last change" }), last);
    t.ok(proxy.connections > 3, `${proxy.connections} connections`);
  });

  await t.test("a watcher receives more than 4 MiB of events at once", async (t) => {
    const prefix = newPrefix();
    const [writer, store] = [openStore(t, [endpoint], { prefix }), openStore(t, [endpoint], { prefix })];
    // Its stream is opened with the next call only, and has all of this to catch up with.
    const next = await startWatch(t, store, ["status"]);
    for (let index = 0; index < 8; index += 1)
      await writer.writeNodeStatus({ ...STATUS, node: `n${index}`, message: randomBytes(700_000).toString("base64") });
    t.equal(await within(next(), { what: "the events" }), "status");
  });

  await t.test("after a compaction before its stream opened, a watcher reads again and continues", async (t) => {
    const prefix = newPrefix();
    const [writer, store] = [openStore(t, [endpoint], { prefix }), openStore(t, [endpoint], { prefix })];
    const next = await startWatch(t, store, ["head"]);
    for (let port = 1; port <= 5; port += 1) await commit(writer, port);
    etcd.ctl("compaction", String(revisionOf(etcd)));
    t.equal(await within(next(), { what: "to be told to look" }), "head");
    t.equal(await store.readHead(), 5);
    const woken = next();
    await commit(writer, 6);
    t.equal(await within(woken, { what: "the next change" }), "head");
  });

  await t.test("after a compaction while it was cut off, a watcher reads again and continues", async (t) => {
    const prefix = newPrefix();
    const [writer, proxy] = [openStore(t, [endpoint], { prefix }), await openProxy(t, endpoint)];
    const store = openStore(t, [proxy.endpoint], { prefix });
    const next = await startWatch(t, store, ["head"]);
    const first = next();
    await commit(writer, 1);
    t.equal(await first, "head");
    const second = next();
    proxy.refuse();
    for (let port = 2; port <= 5; port += 1) await commit(writer, port);
    etcd.ctl("compaction", String(revisionOf(etcd)));
    proxy.heal();
    t.equal(await within(second, { what: "to be told to look" }), "head");
    t.equal(await store.readHead(), 5);
    // What was missed may ring more than once; what comes later rings in any case.
    let head = 5;
    const later = (async () => {
      while (head < 6 && (await next()) !== null) head = await followHead(store);
    })();
    await commit(writer, 6);
    await within(later, { what: "the next change" });
    t.equal(head, 6);
  });

  await t.test("a periodic read makes up for a lost event", async (t) => {
    const prefix = newPrefix();
    const [writer, proxy] = [openStore(t, [endpoint], { prefix }), await openProxy(t, endpoint)];
    const store = openStore(t, [proxy.endpoint], { prefix }, clockThatCuts(REFRESH_MS, 200));
    const next = await startWatch(t, store, ["head"]);
    proxy.loseAnswerWith(`${prefix}head`);
    let head = 0;
    const followed = (async () => {
      while (head < 1 && (await next()) !== null) head = await followHead(writer);
    })();
    await commit(writer, 1);
    await within(followed, { what: "the periodic look" });
    await waitUntil(() => proxy.lost === 1, { what: "the loss of the event" });
    t.equal(head, 1);
  });

  await t.test("the delay before a watcher reconnects is constant", async (t) => {
    const prefix = newPrefix();
    const proxy = await openProxy(t, endpoint);
    const slept: number[] = [];
    const store = openStore(
      t,
      [proxy.endpoint],
      { prefix },
      {
        now: () => systemClock.now(),
        monotonic: () => systemClock.monotonic(),
        sleep: (ms, signal) => {
          if (ms !== REFRESH_MS) slept.push(ms);
          return systemClock.sleep(ms === REFRESH_MS ? ms : 10, signal);
        },
      },
    );
    const next = await startWatch(t, store, ["head"]);
    const woken = next();
    proxy.refuse();
    await waitUntil(() => slept.filter((ms) => ms === RECONNECT_MS).length >= 12, { what: "many attempts" });
    proxy.heal();
    t.equal(await within(woken, { what: "to be told to look" }), "head");
    t.same(
      slept.filter((ms) => ms !== RECONNECT_MS && ms !== RETRY_MS),
      [],
      "no pause grows",
    );
  });

  await t.test(
    "a watch detects a silent network and continues at another member; calls do not wait for it",
    async (t) => {
      const prefix = newPrefix();
      const [writer, proxy] = [openStore(t, [endpoint], { prefix }), await openProxy(t, endpoint)];
      const store = openStore(t, [proxy.endpoint, endpoint], { prefix });
      const caller = openStore(t, [proxy.endpoint, endpoint], { prefix, timeoutMs: 500 });
      const lonely = openStore(t, [proxy.endpoint], { prefix, timeoutMs: 500 });
      await commit(writer, 1);
      t.equal(await caller.readHead(), 1);
      t.equal(await lonely.readHead(), 1);
      const next = await startWatch(t, store, ["head"]);
      const first = next();
      await commit(writer, 2);
      t.equal(await first, "head");
      const woken = next();
      proxy.silence();
      await commit(writer, 3);
      t.equal(await within(caller.readHead(), { what: "the other endpoint's answer" }), 3);
      await t.rejects(within(lonely.readHead(), { what: "the deadline", timeoutMs: 20_000 }), {
        code: "store-unavailable",
        message: /cannot be reached.*enforcement does not change/,
      });
      t.equal(await within(woken, { what: "the keepalive" }), "head");
      t.equal(await store.readHead(), 3);
    },
  );
}

async function onThreeMembers(t: Test, { members, endpoints }: EtcdCluster): Promise<void> {
  const [one, two, three] = members;
  const [first = "", second = "", third = ""] = endpoints;

  await t.test("a watch at a member without quorum continues at another member", async (t) => {
    const prefix = newPrefix();
    const [writer, proxy] = [openStore(t, [second], { prefix }), await openProxy(t, second)];
    const store = openStore(t, [first, proxy.endpoint], { prefix, timeoutMs: 1000 });
    const next = await startWatch(t, store, ["head"]);
    let head = 0;
    const followed = (async () => {
      while (head < 1 && (await next()) !== null) head = await followHead(store);
    })();
    two?.freeze();
    three?.freeze();
    // The first member lives and its connection is sound: only the member itself can have ended the stream.
    await waitUntil(() => proxy.connections > 0, { what: "a call to the other endpoint" });
    two?.thaw();
    three?.thaw();
    await waitUntil(
      async () =>
        commit(writer, 1).then(
          () => true,
          () => false,
        ),
      { what: "a quorum" },
    );
    await within(followed, { what: "the change" });
    t.ok(head >= 1);
  });

  await t.test("a watch at a frozen member continues at another member", async (t) => {
    const prefix = newPrefix();
    const writer = openStore(t, [second, third], { prefix, timeoutMs: 2000 });
    const store = openStore(t, [first, second], { prefix });
    await commit(writer, 1);
    const next = await startWatch(t, store, ["head"]);
    const woken = next();
    one?.freeze();
    try {
      await waitUntil(
        async () =>
          commit(writer, 2).then(
            () => true,
            () => false,
          ),
        { what: "a leader of the others" },
      );
      t.equal(await within(woken, { what: "the keepalive" }), "head");
      t.equal(await within(store.readHead(), { what: "an answer" }), await writer.readHead());
    } finally {
      one?.thaw();
    }
  });
}

async function withPassword(t: Test, etcd: EtcdCluster): Promise<void> {
  const [endpoint = ""] = etcd.endpoints;
  for (const args of [
    ["user", "add", "root:secret"],
    ["user", "grant-role", "root", "root"],
    ["auth", "enable"],
  ])
    etcd.ctl(...args);
  const auth = { username: "root", password: "secret" };
  const [writer, store] = [openStore(t, [endpoint], { auth }), openStore(t, [endpoint], { auth })];
  const next = await startWatch(t, store, ["head"]);
  let head = 0;
  const followed = (async () => {
    while (head < 2 && (await next()) !== null) head = await followHead(store);
  })();
  await commit(writer, 1);
  const [member] = etcd.members;
  await member?.kill();
  await member?.start();
  await commit(writer, 2);
  await within(followed, { what: "the change after the restart" });
  t.equal(head, 2);
}

/** tap keeps what it is given: an object for each. */
const options = () => ({ skip: why ?? false, buffered: true, timeout: HANG_MS });
t.jobs = 3;
t.test("watches of one member", options(), (t) => withEtcd({ flags: QUICK }, (etcd) => onOneMember(t, etcd)));
t.test("watches of three members", options(), (t) =>
  withEtcd({ members: 3, flags: QUICK }, (etcd) => onThreeMembers(t, etcd)),
);
t.test("a watch with a password continues after a restart of etcd, which forgets its tokens", options(), (t) =>
  withEtcd({ flags: QUICK }, (etcd) => withPassword(t, etcd)),
);
