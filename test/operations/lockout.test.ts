import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { ControlServer } from "../../src/model/management-access.js";
import { remoteEndpoint } from "../../src/adapters/git/endpoint.js";
import { controlEndpoints } from "../../src/settings/control-endpoints.js";
import { lockoutsOf, ownLockouts, refuseLockout } from "../../src/operations/change/lockout.js";
import { objectsOf, policy, workload } from "../builders/state.js";
import { fakeAccess } from "../fakes/management-access.js";
import { lockoutNotices } from "../../src/operations/change/notices.js";

const SERVERS: readonly ControlServer[] = [{ role: "store", port: 2379, cgroups: ["test/default-etcd"] }];
const STATE = objectsOf(
  `apiVersion: ztap/v1\nkind: Node\nmetadata: { name: n1 }\nspec: { address: "10.0.0.1:9470" }\n---\n` +
    `apiVersion: ztap/v1\nkind: Node\nmetadata: { name: n2 }\nspec: { address: "10.0.0.2:9470" }\n---\n` +
    workload("etcd@n1 10.0.0.1 app=etcd") +
    policy("p", "  podSelector: {}\n  ingress: [{ from: [{ ipBlock: { cidr: 10.0.0.1/32 } }] }]"),
);

t.test("a node's report holds back no commit, and is told; what the machine itself sees does", async (t) => {
  const store = openMemoryStore(systemClock);
  const deps = { store, managementAccess: fakeAccess().reader, node: "laptop" };
  const nothing = { own: [], reported: [], warnings: [] };
  t.same(await lockoutsOf(deps, STATE), nothing, "nobody is known to serve anything");
  const status = {
    node: "n1",
    boot: "b1",
    servers: SERVERS,
    backend: "ebpf",
    attemptedRevision: null,
    enforcedRevision: null,
    rulesetDigest: null,
    state: "InSync",
    message: null,
    drift: [],
    healed: 0,
    subjects: [],
    observedAt: "2026-01-01T00:00:00.000Z",
  } as const;
  await store.writeNodeStatus(status);
  t.same(await lockoutsOf(deps, STATE), nothing, "the report of a node that is not alive does not count");
  await store.heartbeat({ id: "n1", address: "n1:1", holder: "h1" }, 60_000);
  const told = /^node n1: workload .* deny the agents of n2 their store, which is served there on port 2379/;
  t.match(await lockoutsOf(deps, STATE), { own: [], reported: [told] });
  t.match(await refuseLockout(deps, STATE), { reported: [told] });
  t.same(await lockoutsOf({ ...deps, managementAccess: null }, STATE), nothing, "it is allowed");
  const here = { ...deps, node: "n1" };
  t.same(await lockoutsOf(here, STATE), nothing, "on the machine itself, what it sees counts");
  const seen = { ...here, managementAccess: fakeAccess({ servers: SERVERS }).reader };
  t.match(await lockoutsOf(seen, STATE), { own: [/their store/], reported: [] });
  await t.rejects(refuseLockout(seen, STATE), { code: "lockout" });

  await store.writeNodeStatus({ ...status, servers: [], agentCgroup: "test/default-etcd/agent" });
  t.match(
    await lockoutsOf(here, STATE),
    { own: [/in which the agent of node n1 itself runs/] },
    "its own agent's report",
  );
  t.same(await lockoutsOf({ ...here, agent: "elsewhere" }, STATE), nothing, "the agent itself knows better");
  t.match(await lockoutsOf(deps, STATE), { own: [], reported: [/^node n1: .*itself runs/] });
});

t.test("a leader evaluates no report of another node", async (t) => {
  const store = openMemoryStore(systemClock);
  const observedAt = "2026-01-01T00:00:00.000Z";
  const unknown = { attemptedRevision: null, enforcedRevision: null, rulesetDigest: null, message: null };
  for (const node of ["n1", "n2", "n3"]) {
    const lists = { drift: [], subjects: [], servers: SERVERS };
    await store.writeNodeStatus({
      ...unknown,
      ...lists,
      node,
      backend: "ebpf",
      state: "InSync",
      healed: 0,
      observedAt,
    });
    await store.heartbeat({ id: node, address: "", holder: node }, 60_000);
  }
  let looks = 0;
  const objects = new Map(STATE);
  objects.values = () => ((looks += 1), STATE.values());
  const deps = { store, managementAccess: fakeAccess().reader, node: "leader" };
  t.same(await ownLockouts(deps, objects), []);
  t.equal(looks, 0);
  t.match((await lockoutsOf(deps, objects)).reported, [/^node n1: /]);
  t.ok(looks > 0, "a command does");
});

t.test("control endpoints: the addresses of an agent's store and source", (t) => {
  const source = (url: string) => controlEndpoints({ source: { url } }, remoteEndpoint);
  const endpoints = ["10.0.0.1:2379", "[2001:db8::1]:2399"];
  t.same(controlEndpoints({ store: { kind: "etcd", tls: false, endpoints, prefix: "ztap/" } }, remoteEndpoint), [
    { role: "store", host: "10.0.0.1", port: 2379 },
    { role: "store", host: "2001:db8::1", port: 2399 },
  ]);
  t.same(source("https://user:secret@git.example.com/p.git"), [{ role: "source", host: "git.example.com", port: 443 }]);
  t.same(source("ssh://git@[2001:db8::2]:2222/p.git"), [{ role: "source", host: "2001:db8::2", port: 2222 }]);
  t.same(source("git@git.example.com:p.git"), [{ role: "source", host: "git.example.com", port: 22 }]);
  for (const local of ["/srv/p.git", "file:///srv/p.git", "./p:q"]) t.same(source(local), []);
  t.end();
});

t.test("a search that was cut short, or sees no cgroups, refuses nothing and is told", async (t) => {
  const deps = { store: openMemoryStore(systemClock), node: "n1" };
  const short = fakeAccess({ isComplete: false }).reader;
  const notices = lockoutNotices(await refuseLockout({ ...deps, managementAccess: short }, STATE));
  t.match(notices, [{ code: "lockout", message: /had to end before it had read all processes/ }]);
  const blind = fakeAccess({ problem: "in a cgroup namespace" }).reader;
  t.match(lockoutNotices(await refuseLockout({ ...deps, managementAccess: blind }, STATE)), [
    { message: "in a cgroup namespace" },
  ]);
});
