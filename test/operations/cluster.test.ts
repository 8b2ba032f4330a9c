import t from "tap";
import { MemoryTable, openMemoryStore } from "../../src/adapters/memory/store.js";
import type { NodeStatus } from "../../src/model/status.js";
import { joinCluster, leaveCluster, readClusterStatus } from "../../src/operations/cluster/membership.js";
import { renderClusterStatus } from "../../src/views/cluster.js";
import { plainStyle } from "../../src/views/style.js";
import { ManualClock } from "../fakes/clock.js";
import { draft } from "../fakes/objects.js";

const STATUS: NodeStatus = {
  node: "n1",
  backend: "ebpf",
  attemptedRevision: 3,
  enforcedRevision: 1,
  rulesetDigest: null,
  state: "Stalled",
  message: "default/web: needs a cgroup",
  drift: [],
  healed: 0,
  subjects: [],
  observedAt: "2026-01-01T00:00:00.000Z",
};

const node = (name: string) =>
  ({ apiVersion: "ztap/v1", kind: "Node", metadata: { name }, spec: { address: `${name}:1`, addresses: [] } }) as const;

function setUp() {
  const clock = new ManualClock();
  const store = openMemoryStore(clock, new MemoryTable());
  const heartbeat = (id: string, ttlMs = 1000) => store.heartbeat({ id, address: `${id}:1`, holder: `h-${id}` }, ttlMs);
  return { clock, store, heartbeat, deps: { store, clock } };
}

t.test("declared, joined and live nodes are listed together", async (t) => {
  const { clock, store, heartbeat, deps } = setUp();
  await store.commit(draft([node("declared"), node("n1")]), { expectHead: null, fence: null });
  await store.commit(draft([node("declared"), node("n1"), node("more")]), { expectHead: 1, fence: null });
  await joinCluster(deps, "n1", "n1:1");
  await joinCluster(deps, "joined", "joined:1");
  await heartbeat("n1");
  await heartbeat("guest");
  await store.campaign({ id: "n1", holder: "h-n1" }, 1000);
  await store.writeNodeStatus(STATUS);
  clock.advance(400);
  const status = await readClusterStatus(deps);
  t.match(status, { revision: 2, leader: { id: "n1", address: "n1:1" } });
  t.match(
    status.nodes.map(({ id, role, state, declared }) => [id, role, state, declared]),
    [
      ["declared", "none", "absent", true],
      ["guest", "none", "left", false],
      ["joined", "follower", "unhealthy", false],
      ["more", "none", "absent", true],
      ["n1", "leader", "healthy", true],
    ],
  );
  t.match(status.nodes[4], { heartbeatAgeMs: 400, enforcedRevision: 1, lag: 1, message: STATUS.message });
  t.match(status.nodes[1], { address: "guest:1", heartbeatAgeMs: 400, message: /its agent still runs/ });
  t.match(status.nodes[2], { heartbeatAgeMs: null, lag: null, message: /never run/ });
});

t.test("a leader that died while its session lasts is shown as silent", async (t) => {
  const { clock, store, heartbeat, deps } = setUp();
  await joinCluster(deps, "n1", "n1:1");
  await heartbeat("n1");
  await store.campaign({ id: "n1", holder: "h-n1" }, 60_000);
  const leader = async () => renderClusterStatus(await readClusterStatus(deps), plainStyle).split("\n")[1];
  t.equal(await leader(), "Leader    n1 (n1:1)");
  clock.advance(5000);
  t.match(await leader(), /^Leader {4}n1 \(n1:1\): no heartbeat for 5 s; another node leads/);
});

t.test("a node that dies is unhealthy within its time-out, and stays a member", async (t) => {
  const { clock, store, heartbeat, deps } = setUp();
  await joinCluster(deps, "n1", "n1:1");
  await heartbeat("n1");
  await store.writeNodeStatus({ ...STATUS, state: "InSync", message: null });
  clock.advance(999);
  t.match((await readClusterStatus(deps)).nodes, [{ id: "n1", state: "healthy", message: null }]);
  clock.advance(1);
  t.match((await readClusterStatus(deps)).nodes, [
    { id: "n1", state: "unhealthy", heartbeatAgeMs: 1000, enforcedRevision: 1, message: /is not running, or cannot/ },
  ]);
  clock.advance(30 * 86_400_000);
  t.match((await readClusterStatus(deps)).nodes, [{ id: "n1", state: "unhealthy" }]);
});

t.test(
  "leaving removes every record of a node; a live node needs --force, and an unknown node is an error",
  async (t) => {
    const { clock, store, heartbeat, deps } = setUp();
    await joinCluster(deps, "n1", "n1:1");
    await joinCluster(deps, "n2", "n2:1");
    await heartbeat("n1");
    await store.writeNodeStatus(STATUS);
    await t.rejects(leaveCluster(store, "n1", false), { code: "node-alive", message: /--force/ });
    t.equal((await store.listMembers()).length, 2, "a refusal changes nothing");
    clock.advance(1000);
    t.match(await leaveCluster(store, "n1", false), { id: "n1", address: "n1:1", wasAlive: false });
    t.same([await store.listHeartbeats(), await store.listNodeStatus()], [[], []]);
    await t.rejects(leaveCluster(store, "n1", false), { code: "not-found", message: /these have: n2/ });
    await heartbeat("n2");
    t.match(await leaveCluster(store, "n2", true), { wasAlive: true });
    await heartbeat("n2");
    t.match((await readClusterStatus(deps)).nodes, [{ id: "n2", state: "left", message: /restart it to join again/ }]);
    clock.advance(1000);
    await leaveCluster(store, "n2", false);
    t.same((await readClusterStatus(deps)).nodes, [], "also what is left of one that is no member");
  },
);

t.test("joining again keeps the time and changes the address, unless the agent reports another one", async (t) => {
  const { clock, heartbeat, deps } = setUp();
  t.match(await joinCluster(deps, "n1", "n1:1"), { changed: true, declared: false });
  clock.advance(5000);
  t.match(await joinCluster(deps, "n1", "n1:1"), { changed: false });
  t.match(await joinCluster(deps, "n1", "n1:2"), {
    changed: true,
    member: { address: "n1:2", joinedAt: "2026-01-01T00:00:00.000Z" },
  });
  await heartbeat("n1");
  await t.rejects(joinCluster(deps, "n1", "n1:3"), { code: "node-alive", message: /n1:1/ });
  for (const id of ["", "N1", "a/b", "n_1", "x".repeat(64)])
    await t.rejects(joinCluster(deps, id, "n1:1"), { code: "usage" }, id);
  for (const address of ["", "n1", "n1:99999", "http://n1:1"])
    await t.rejects(joinCluster(deps, "n2", address), { code: "usage" }, address);
});
