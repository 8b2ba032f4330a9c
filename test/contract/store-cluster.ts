/** Members, heartbeats, status and leadership. */
import type { Override } from "../../src/model/override.js";
import type { NodeStatus, SourceStatus } from "../../src/model/status.js";
import { draft, policy } from "../fakes/objects.js";
import type { StoreCase } from "./bench.js";

export const STATUS: NodeStatus = {
  node: "n1",
  backend: "ebpf",
  attemptedRevision: 4,
  enforcedRevision: 3,
  rulesetDigest: "ab".repeat(32),
  state: "Drifted",
  message: "healed 1",
  drift: [{ kind: "missing", detail: "entry 7", workload: "default/web", policies: ["default/web"] }],
  healed: 2,
  subjects: [
    { workload: "default/web", state: "Enforced" },
    { workload: "default/db", state: "Pending", message: "no such cgroup" },
  ],
  observedAt: "2026-01-01T00:00:00.000Z",
};

export const SOURCE: SourceStatus = {
  location: "/repo",
  ref: null,
  path: null,
  observedCommit: "d".repeat(40),
  acceptedCommit: null,
  acceptedRevision: 2,
  state: "Rejected",
  message: "1 error",
  diagnostics: [{ code: "ZT0001", file: "a.yaml", line: 1, column: 2, message: "wrong" }],
  checkedAt: "2026-01-01T00:00:00.000Z",
  leader: "n1",
};

const members: readonly StoreCase[] = [
  {
    title: "members join, are updated, listed in order, and leave without a trace",
    async run(t, { store, open }) {
      const [a, b] = [
        { id: "a", address: "10.0.0.1:7000", joinedAt: "2026-01-01T00:00:00.000Z" },
        { id: "b", address: "10.0.0.2:7000", joinedAt: "2026-01-02T00:00:00.000Z" },
      ];
      await store.joinMember(b);
      await store.joinMember({ ...a, address: "old:1" });
      await store.joinMember(a);
      const other = await open();
      t.same(await other.listMembers(), [a, b]);
      await store.heartbeat({ id: "a", address: a.address, holder: "h" }, 60_000);
      await store.writeNodeStatus({ ...STATUS, node: "a" });
      t.equal(await other.leaveMember("a"), true);
      t.equal(await store.leaveMember("a"), false);
      t.same(await store.listMembers(), [b]);
      t.same(await store.listHeartbeats(), []);
      t.same(await store.listNodeStatus(), []);
    },
  },
  {
    title: "an id that would reach into another key is refused",
    async run(t, { store }) {
      for (const id of ["", "a/b", "a\0b", "x".repeat(501)]) {
        await t.rejects(store.joinMember({ id, address: "a:1", joinedAt: "2026-01-01T00:00:00.000Z" }), RangeError);
      }
      t.same(await store.listMembers(), []);
    },
  },
  {
    title: "a heartbeat belongs to one holder for as long as it lives",
    async run(t, { store, time, open }) {
      const other = await open();
      const heartbeat = (holder: string, address = "a:1") => ({ id: "n1", address, holder });
      t.same(await store.heartbeat(heartbeat("h1"), time.ttlMs), { held: null });
      t.same(await other.heartbeat(heartbeat("h2", "b:2"), time.ttlMs), { held: "h1" });
      const alive = [{ id: "n1", address: "a:1", alive: true }];
      t.match(await other.listHeartbeats(), alive, "a refusal changes nothing");
      await time.nearly();
      t.same(await store.heartbeat(heartbeat("h1"), time.ttlMs), { held: null });
      await time.nearly();
      t.same(await other.heartbeat(heartbeat("h2"), time.ttlMs), { held: "h1" }, "the renewal counts");
      t.match(await other.listHeartbeats(), alive);
      await time.expire();
      const dead = await other.listHeartbeats();
      t.match(dead, [{ id: "n1", address: "a:1", alive: false }]);
      t.match(dead[0]?.lastSeen, /^20\d\d-.*Z$/, "when it was seen is kept");
      t.same(await other.heartbeat(heartbeat("h2"), time.ttlMs), { held: null });
      t.same(await store.heartbeat(heartbeat("h1"), time.ttlMs), { held: "h2" });
    },
  },
  {
    title: "a node that moves to another address is listed under it",
    async run(t, { store, time: { ttlMs } }) {
      await store.heartbeat({ id: "n1", address: "a:1", holder: "h1" }, ttlMs);
      await store.heartbeat({ id: "n1", address: "b:2", holder: "h1" }, ttlMs);
      t.match(await store.listHeartbeats(), [{ id: "n1", address: "b:2", alive: true }]);
    },
  },
  {
    title: "a node that was made to leave comes back with its next heartbeat",
    async run(t, { store, time: { ttlMs }, open }) {
      await store.heartbeat({ id: "n1", address: "a:1", holder: "h1" }, ttlMs);
      await (await open()).leaveMember("n1");
      t.same(await store.listHeartbeats(), []);
      t.same(await store.heartbeat({ id: "n1", address: "a:1", holder: "h1" }, ttlMs), { held: null });
      t.match(await store.listHeartbeats(), [{ id: "n1", alive: true }]);
    },
  },
  {
    title: "a heartbeat is ended by its holder alone, at once",
    async run(t, { store, time: { ttlMs } }) {
      await store.heartbeat({ id: "n1", address: "a:1", holder: "h1" }, ttlMs);
      await store.endHeartbeat("n1", "h2");
      t.match(await store.listHeartbeats(), [{ alive: true }]);
      await store.endHeartbeat("n1", "h1");
      t.match(await store.listHeartbeats(), [{ id: "n1", alive: false }]);
      t.same(await store.heartbeat({ id: "n1", address: "a:1", holder: "h2" }, ttlMs), { held: null });
      await store.endHeartbeat("unknown", "h1");
    },
  },
];

const status: readonly StoreCase[] = [
  {
    title: "a node's status is read back the same, the last one written",
    async run(t, { store, open }) {
      await store.writeNodeStatus({ ...STATUS, healed: 1 });
      await store.writeNodeStatus(STATUS);
      await store.writeNodeStatus({
        ...STATUS,
        node: "n0",
        drift: [],
        subjects: [],
        attemptedRevision: null,
        message: null,
      });
      const read = await (await open()).listNodeStatus();
      t.same(
        read.map(({ node }) => node),
        ["n0", "n1"],
      );
      t.same(read[1], STATUS);
    },
  },
  {
    title: "the source's status is written by the leader alone",
    async run(t, { store, time, open }) {
      const { fence } = await store.campaign({ id: "n1", holder: "h1" }, time.ttlMs);
      if (fence === null) throw new Error("nobody else wanted to lead");
      t.equal(await store.writeSourceStatus(SOURCE, fence), true);
      const other = await open();
      t.same(await other.readSourceStatus(), SOURCE);
      await time.expire();
      t.equal(await store.writeSourceStatus({ ...SOURCE, state: "Synced" }, fence), false);
      await other.campaign({ id: "n2", holder: "h2" }, time.ttlMs);
      t.equal(await store.writeSourceStatus({ ...SOURCE, state: "Synced" }, fence), false);
      t.same(await store.readSourceStatus(), SOURCE);
    },
  },
  {
    title: "what one node says without sense, or in another's name, hides nobody else, and can be made to leave",
    async run(t, { store, damage, time: { ttlMs } }) {
      const member = { id: "n2", address: "n2:1", joinedAt: "2026-01-01T00:00:00.000Z" };
      await store.joinMember(member);
      await store.heartbeat({ id: "n2", address: "n2:1", holder: "h" }, ttlMs);
      await store.writeNodeStatus({ ...STATUS, node: "n2" });
      for (const evil of ["[]", "garbage", '{"node":"evil"}', JSON.stringify({ ...STATUS, node: "n2", healed: 999 })])
        await damage("status/evil", evil);
      await damage("members/evil", JSON.stringify({ ...member, address: "evil:1" }));
      await damage("live/evil", "not json");
      t.same(
        (await store.listNodeStatus()).map(({ node, healed }) => [node, healed]),
        [["n2", STATUS.healed]],
      );
      t.same(await store.listMembers(), [member]);
      t.match(await store.listHeartbeats(), [{ id: "n2", alive: true }]);
      t.equal(await store.leaveMember("evil"), true);
      t.equal(await store.leaveMember("evil"), false);
    },
  },
  {
    title: "leadership that does not have its shape is an error, and nobody's",
    async run(t, { store, damage }) {
      for (const wrong of ["[]", '{"leader":"n1\\nn2","holder":"h","term":1,"renewedAt":1,"ttlMs":1}']) {
        await damage("election", wrong);
        await t.rejects(store.readLeader(), { code: "store-damaged" });
      }
    },
  },
];

export const SUSPENSION = { by: "op@host", reason: "incident 42", since: "2026-01-01T00:00:00.000Z", until: null };

const OVERRIDE: Override = {
  id: "id",
  kind: "quarantine",
  target: { workload: "demo/web" },
  by: "op@host",
  reason: "incident 42",
  since: "2026-01-01T00:00:00.000Z",
  until: "2026-01-01T04:00:00.000Z",
};

const sourceControl: readonly StoreCase[] = [
  {
    title: "what operators told the leaders is kept, replaced and ended",
    async run(t, { store, open }) {
      t.same(await store.readSourceControl(), { suspension: null, approval: null });
      t.equal(await store.writeSuspension(null), false, "there is none to end");
      t.equal(await store.writeSuspension(SUSPENSION), true);
      const approval = { commit: "a".repeat(40), by: "op@host", reason: "", time: "2026-01-01T00:00:00.000Z" };
      const other = await open();
      await other.writeApproval({ ...approval, commit: "b".repeat(40) });
      await other.writeApproval(approval);
      t.same(await other.readSourceControl(), { suspension: SUSPENSION, approval });
      t.equal(await other.writeSuspension(null), true);
      t.same(await store.readSourceControl(), { suspension: null, approval });
    },
  },
  {
    title: "overrides are changed by one writer after another, and nobody's change is lost",
    async run(t, { store, open }) {
      t.same(await store.readOverrides(), []);
      const handles = [store, await open(), await open()];
      const made = handles.map((handle, at) =>
        handle.changeOverrides((before) => [{ ...OVERRIDE, id: `id${at}` }, ...before]),
      );
      await Promise.all(made);
      const all = await store.readOverrides();
      t.same(all.map(({ id }) => id).sort(), ["id0", "id1", "id2"]);
      t.equal(await store.changeOverrides((before) => before).then((after) => after.length), 3);
      const ended = { by: "other@host", at: "2026-01-01T01:00:00.000Z" };
      await store.changeOverrides((before) => before.map((one) => (one.id === "id1" ? { ...one, ended } : one)));
      const found = (await (await open()).readOverrides()).find(({ id }) => id === "id1");
      t.same(found, { ...OVERRIDE, id: "id1", ended });
    },
  },
  {
    title: "a suspension refuses what heeds it, and nobody else, until it has run out",
    async run(t, { store, open, time }) {
      const { fence } = await store.campaign({ id: "n1", holder: "h1" }, time.ttlMs);
      const guard = { expectHead: null, fence, heedSuspension: true };
      await (await open()).writeSuspension({ ...SUSPENSION, until: "2999-01-01T00:00:00.000Z" });
      t.match(await store.commit(draft([policy("a")]), guard), {
        outcome: "suspended",
        suspension: { by: "op@host", until: "2999-01-01T00:00:00.000Z" },
      });
      t.equal(await store.readHead(), null);
      t.match(await store.commit(draft([policy("a")]), { expectHead: null, fence: null }), { outcome: "committed" });
      await store.writeSuspension({ ...SUSPENSION, until: "1970-01-01T00:00:00.000Z" });
      t.equal((await store.readSourceControl()).suspension, null);
      t.match(await store.commit(draft([policy("a", 81)]), { ...guard, expectHead: 1 }), { outcome: "committed" });
      await store.writeSuspension(null);
      t.match(await store.commit(draft([policy("a", 82)]), { ...guard, expectHead: 2 }), { outcome: "committed" });
    },
  },
  {
    title: "a commit that suspends the source does both, or neither",
    async run(t, { store, open, time }) {
      const { fence } = await store.campaign({ id: "n1", holder: "h1" }, time.ttlMs);
      const fromSource = { fence, heedSuspension: true };
      const byOperator = { ...draft([policy("a")]), restores: 1, suspension: SUSPENSION };
      await store.commit(draft([policy("a")]), { ...fromSource, expectHead: null });
      await store.commit(draft([policy("a", 81)]), { ...fromSource, expectHead: 1 });
      t.match(await store.commit(byOperator, { expectHead: 1, fence: null }), { outcome: "stale-head", head: 2 });
      t.equal((await store.readSourceControl()).suspension, null, "a lost race suspends nothing");
      const seen = await open();
      t.match(await seen.commit(byOperator, { expectHead: 2, fence: null }), {
        outcome: "committed",
        revision: { number: 3, restores: 1 },
      });
      t.equal((await store.readRevision(3))?.restores, 1);
      t.equal((await store.readRevision(2))?.restores, undefined);
      t.same((await store.readSourceControl()).suspension, SUSPENSION);
      t.match(await store.commit(draft([policy("a", 82)]), { ...fromSource, expectHead: 3 }), { outcome: "suspended" });
      t.match(
        await seen.commit(byOperator, { expectHead: 2, fence: null }),
        { outcome: "committed", revision: { number: 3 } },
        "repeated after a lost answer",
      );
    },
  },
  {
    title: "an order that does not have its shape is an error, and commits nothing that would heed it",
    async run(t, { store, damage }) {
      await damage("suspension", JSON.stringify({ ...SUSPENSION, until: "soon" }));
      await t.rejects(store.readSourceControl(), { code: "store-damaged" });
      const guard = { expectHead: null, fence: null, heedSuspension: true };
      await t.rejects(store.commit(draft([policy("a")]), guard), { code: "store-damaged" });
      t.equal(await store.readHead(), null);
      t.equal(await store.writeSuspension(null), true);
      t.match(await store.commit(draft([policy("a")]), guard), { outcome: "committed" });
    },
  },
];

const election: readonly StoreCase[] = [
  {
    title: "one leads at a time; the term rises with each change of leader",
    async run(t, { store, time, open }) {
      const other = await open();
      const a = { id: "a", holder: "a1" };
      const b = { id: "b", holder: "b1" };
      const first = await store.campaign(a, time.ttlMs);
      const term = first.fence?.term ?? NaN;
      t.same(first, { fence: { leader: "a", term }, leader: "a" });
      t.ok(term >= 1);
      t.equal(await other.readLeader(), "a");
      t.same(await other.campaign(b, time.ttlMs), { fence: null, leader: "a" });
      await time.nearly();
      t.same(await store.campaign(a, time.ttlMs), first, "a renewal is the same term");
      await time.nearly();
      t.same(await other.campaign(b, time.ttlMs), { fence: null, leader: "a" });
      await time.expire();
      t.equal(await other.readLeader(), null);
      const second = await other.campaign(b, time.ttlMs);
      t.match(second, { fence: { leader: "b" }, leader: "b" });
      t.ok((second.fence?.term ?? 0) > term);
      t.same(await store.campaign(a, time.ttlMs), { fence: null, leader: "b" });
    },
  },
  {
    title: "who comes back after the lease ran out leads under a new term",
    async run(t, { store, time }) {
      const a = { id: "a", holder: "a1" };
      const before = await store.campaign(a, time.ttlMs);
      await time.expire();
      const { fence } = await store.campaign(a, time.ttlMs);
      t.ok((fence?.term ?? 0) > (before.fence?.term ?? Infinity));
    },
  },
  {
    title: "the fence of who leads now can be read, and commits until the leader changes",
    async run(t, { store, time, open }) {
      const other = await open();
      t.equal(await store.readFence(), null);
      const { fence } = await store.campaign({ id: "a", holder: "a1" }, time.ttlMs);
      t.same(await other.readFence(), fence);
      t.match(await other.commit(draft([policy("p")]), { expectHead: null, fence }), { outcome: "committed" });
      await store.resign("a1");
      t.equal(await other.readFence(), null);
      const next = await store.campaign({ id: "a", holder: "a1" }, time.ttlMs);
      t.same(await other.readFence(), next.fence);
      t.not(next.fence?.term, fence?.term);
      t.match(await other.commit(draft([]), { expectHead: 1, fence }), { outcome: "fenced", leader: "a" });
      await time.expire();
      t.equal(await other.readFence(), null, "nobody leads once the lease has run out");
    },
  },
  {
    title: "a second process of the leading node does not lead with it",
    async run(t, { store, time: { ttlMs }, open }) {
      await store.campaign({ id: "a", holder: "a1" }, ttlMs);
      t.same(await (await open()).campaign({ id: "a", holder: "a2" }, ttlMs), { fence: null, leader: "a" });
    },
  },
  {
    title: "who resigns stops leading at once; nobody else can resign for them",
    async run(t, { store, time: { ttlMs }, open }) {
      const other = await open();
      const { fence } = await store.campaign({ id: "a", holder: "a1" }, ttlMs);
      await other.resign("b1");
      t.equal(await other.readLeader(), "a");
      await store.resign("a1");
      t.equal(await other.readLeader(), null);
      const next = await other.campaign({ id: "b", holder: "b1" }, ttlMs);
      t.match(next, { fence: { leader: "b" }, leader: "b" });
      t.ok((next.fence?.term ?? 0) > (fence?.term ?? Infinity));
      await store.resign("a1");
      t.equal(await store.readLeader(), "b", "a second time does nothing");
    },
  },
  {
    title: "closing is final, may be repeated, and leaves other handles open",
    async run(t, { store, open }) {
      const other = await open();
      await other.close();
      await other.close();
      await t.rejects(other.readHead(), { code: "store-unavailable" });
      await t.rejects(other.resign("a"), { code: "store-unavailable" });
      t.equal(await store.readHead(), null);
    },
  },
];

export const clusterCases: readonly StoreCase[] = [...members, ...status, ...sourceControl, ...election];
