/** What `policy show` says of a node is about its state now, whatever it said of an earlier one. */
import t from "tap";
import { systemClock } from "../../src/adapters/system/clock.js";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import type { NodeStatus } from "../../src/model/status.js";
import { readClusterStatus } from "../../src/operations/cluster/membership.js";
import { reportPolicy } from "../../src/operations/policy/report.js";
import { commitOnHead } from "../contract/store-commits.js";
import { objectsOf, policy } from "../builders/state.js";
import { compile } from "../../src/policy/compile/compile.js";
import { fakeAccess } from "../fakes/management-access.js";
import { FakeEnforcer, FakeMachine } from "../fakes/enforcer.js";
import { recordTelemetry, silentLogger } from "../fakes/ambient.js";
import { MemoryLastGood } from "../fakes/last-good.js";
import { draft } from "../fakes/objects.js";
import type { Session } from "../../src/model/management-access.js";
import { Follower } from "../../src/reconcile/follower.js";

const STATE = `apiVersion: ztap/v1
kind: Workload
metadata: { name: web, labels: { app: web } }
spec: { node: n1, cgroup: web, addresses: ["10.0.0.1"] }
---
apiVersion: ztap/v1
kind: NetworkPolicy
metadata: { name: p }
spec: { podSelector: {}, ingress: [] }
`;

t.test("a node that drifted again is not reported as healed", async (t) => {
  const store = openMemoryStore(systemClock);
  t.teardown(() => store.close());
  const objects = [...objectsOf(STATE).values()].map(({ object }) => object);
  await commitOnHead(store, draft(objects));
  await store.joinMember({ id: "n1", address: "n1:9470", joinedAt: "2026-01-01T00:00:00.000Z" });
  const status: NodeStatus = {
    node: "n1",
    backend: "ebpf",
    attemptedRevision: 1,
    enforcedRevision: 1,
    rulesetDigest: null,
    state: "Drifted",
    message: "healed 3 differences",
    drift: [{ kind: "detached", detail: "ingress program on default/web is not attached", workload: "default/web" }],
    healed: 3,
    subjects: [],
    observedAt: "2026-01-01T00:00:00.000Z",
  };
  await store.writeNodeStatus(status);
  const readGit = async () => ({ objects: null, why: "no source is polled" });
  const report = () =>
    reportPolicy(
      { store, clock: systemClock, openLocal: async () => null, readGit },
      { namespace: "default", name: "p" },
    );
  await store.heartbeat({ id: "n1", address: "n1:9470", holder: "h" }, 60_000);
  const [node] = (await report()).nodes;
  t.match(node, { state: "Drifted", message: /^1 difference; the agent heals/ });
  const cluster = await readClusterStatus({ store, clock: systemClock });
  t.match(cluster.nodes, [{ id: "n1", message: "ingress program on default/web is not attached" }]);
  await store.writeNodeStatus({ ...status, state: "InSync", drift: [] });
  t.match((await report()).nodes, [{ state: "InSync", message: "healed 3 differences" }]);
});

t.test("a node that is ahead of its own report is not reported as drifted", async (t) => {
  const store = openMemoryStore(systemClock);
  t.teardown(() => store.close());
  const objectsAt = (ingress: string) =>
    [...objectsOf(STATE.replace("ingress: []", `ingress: ${ingress}`)).values()].map(({ object }) => object);
  await commitOnHead(store, draft(objectsAt("[]")));
  await store.heartbeat({ id: "n1", address: "n1:9470", holder: "h" }, 60_000);
  const machine = new FakeMachine();
  const enforcer = new FakeEnforcer(machine);
  await enforcer.apply(compile((await store.readState(1)).objects, "n1"));
  const status = {
    node: "n1",
    backend: "fake",
    attemptedRevision: 1,
    enforcedRevision: 1,
    rulesetDigest: "d".repeat(64),
  } as const;
  const inSync = {
    state: "InSync",
    message: null,
    drift: [],
    healed: 0,
    subjects: [],
    observedAt: "2026-01-01T00:00:00.000Z",
  } as const;
  await store.writeNodeStatus({ ...status, ...inSync });
  // The agent switches after its report was read, and before its kernel is.
  const openLocal = async () => {
    await commitOnHead(store, draft(objectsAt("[{}]")));
    await enforcer.apply(compile((await store.readState(2)).objects, "n1"));
    return enforcer;
  };
  const readGit = async () => ({ objects: null, why: "no source is polled" });
  const deps = { store, clock: systemClock, openLocal, readGit };
  const { nodes } = await reportPolicy(deps, { namespace: "default", name: "p" });
  t.match(nodes, [{ node: "n1", state: "InSync", enforcedRevision: 2, drift: [] }]);
  machine.items.delete("link/default/web");
  const damaged = await reportPolicy({ ...deps, openLocal: async () => enforcer }, { namespace: "default", name: "p" });
  t.match(damaged.nodes, [{ node: "n1", state: "Drifted" }], "and one that holds neither has");
});

t.test("a workload whose cgroup was made again since the agent's last check is pending, not drifted", async (t) => {
  const store = openMemoryStore(systemClock);
  t.teardown(() => store.close());
  await commitOnHead(store, draft([...objectsOf(STATE).values()].map(({ object }) => object)));
  await store.heartbeat({ id: "n1", address: "n1:9470", holder: "h" }, 60_000);
  const machine = new FakeMachine();
  const enforcer = new FakeEnforcer(machine);
  await enforcer.apply(compile((await store.readState(1)).objects, "n1"));
  await store.writeNodeStatus({
    ...{ node: "n1", backend: "fake", attemptedRevision: 1, enforcedRevision: 1, rulesetDigest: "d".repeat(64) },
    ...{ state: "InSync", message: null, drift: [], healed: 0, observedAt: "2026-01-01T00:00:00.000Z" },
    subjects: [{ workload: "default/web", state: "Enforced", place: "first" }],
  });
  machine.items.delete("link/default/web");
  const readGit = async () => ({ objects: null, why: "no source is polled" });
  const report = () =>
    reportPolicy(
      { store, clock: systemClock, openLocal: async () => enforcer, readGit },
      { namespace: "default", name: "p" },
    );
  t.match((await report()).nodes, [{ state: "Drifted" }]);
  machine.places.set("default/web", "second");
  t.match((await report()).nodes, [
    { state: "Pending", message: /default\/web: its cgroup was created again/, drift: [] },
  ]);
  // Head gives it another cgroup, which is no restart: half of head is not head.
  const elsewhere = STATE.replace("cgroup: web", "cgroup: elsewhere");
  await commitOnHead(store, draft([...objectsOf(elsewhere).values()].map(({ object }) => object)));
  await enforcer.apply(compile((await store.readState(2)).objects, "n1"));
  machine.items.delete("link/default/web");
  t.match((await report()).nodes, [{ state: "Drifted", enforcedRevision: 1 }]);
});

t.test(
  "a node that says that it enforces a revision which there is not is reported as it says, and the rest stands",
  async (t) => {
    const store = openMemoryStore(systemClock);
    t.teardown(() => store.close());
    await commitOnHead(store, draft([...objectsOf(STATE).values()].map(({ object }) => object)));
    await store.heartbeat({ id: "n1", address: "n1:9470", holder: "h" }, 60_000);
    await store.writeNodeStatus({
      ...{ node: "n1", backend: "fake", attemptedRevision: 999, enforcedRevision: 999, rulesetDigest: null },
      ...{ state: "InSync", message: null, drift: [], healed: 0, observedAt: "2026-01-01T00:00:00.000Z", subjects: [] },
    });
    const report = await reportPolicy(
      {
        store,
        clock: systemClock,
        openLocal: async () => new FakeEnforcer(new FakeMachine()),
        readGit: async () => ({ objects: null, why: "no source is polled" }),
      },
      { namespace: "default", name: "p" },
    );
    t.match(report.nodes, [{ node: "n1", state: "Pending", enforcedRevision: 999, counters: null }]);
  },
);

t.test("a node with a withheld workload is Stalled for that one's policies, and in sync for the others", async (t) => {
  const store = openMemoryStore(systemClock);
  t.teardown(() => store.close());
  const state = (ssh: string, port: number): string =>
    ["ssh", "web"]
      .map(
        (name) =>
          `apiVersion: ztap/v1\nkind: Workload\nmetadata: { name: ${name}, labels: { app: ${name} } }\n` +
          `spec: { node: n1, cgroup: ${name}, addresses: ["10.0.0.1"] }\n---\n`,
      )
      .join("") +
    policy("ssh", `  podSelector: { matchLabels: { app: ssh } }\n  ingress: ${ssh}`) +
    policy("web", `  podSelector: { matchLabels: { app: web } }\n  ingress: [{ ports: [{ port: ${port} }] }]`);
  const commit = (text: string) =>
    commitOnHead(store, draft([...objectsOf(text).values()].map(({ object }) => object)));
  const machine = new FakeMachine();
  const lastGood = new MemoryLastGood();
  const sessions: Session[] = [];
  const managementAccess = fakeAccess({ sessions }).reader;
  const follower = new Follower(
    {
      ...{ store, lastGood, managementAccess, clock: systemClock, logger: silentLogger },
      ...{ enforcer: new FakeEnforcer(machine), telemetry: recordTelemetry().telemetry },
    },
    "n1",
  );
  await store.heartbeat({ id: "n1", address: "n1:9470", holder: "h" }, 60_000);
  await commit(state("[{}]", 80));
  await follower.reconcile();
  const [before] = await store.listNodeStatus();
  sessions.push({ peer: "192.0.2.9", port: 22, cgroups: ["ssh"] });
  await commit(state("[]", 443));
  await t.rejects(follower.reconcile(), { code: "lockout" });

  const deps = {
    ...{ store, clock: systemClock },
    readGit: async () => ({ objects: null, why: "no source is polled" }),
    readPartial: async () => (lastGood.state?.withholding === undefined ? [] : [lastGood.state]),
  };
  const report = async (name: string, isLive: boolean) => {
    const openLocal = async () => (isLive ? new FakeEnforcer(machine) : null);
    return (await reportPolicy({ ...deps, openLocal }, { namespace: "default", name })).nodes[0];
  };
  const withheld = [{ workload: "default/ssh", reason: /deny the SSH session/, keeps: ["default/ssh"] }];
  const stalled = { state: "Stalled", enforcedRevision: 1, desiredRevision: 2, withheld, drift: [] };
  const inSync = { state: "InSync", enforcedRevision: 2, withheld: [], drift: [] };
  for (const isLive of [false, true]) {
    t.match(await report("ssh", isLive), {
      ...stalled,
      message: /^default\/ssh: not enforced for default\/ssh, since/,
    });
    t.match(await report("web", isLive), { ...inSync, message: "revision 2 is withheld from default/ssh" });
  }
  const cluster = await readClusterStatus(deps);
  t.match(cluster.nodes, [{ enforcedRevision: 1, lag: 1, withheld }]);

  machine.items.delete("link/default/web");
  t.match(await report("web", true), { state: "Drifted" }, "the kernel is compared with what is to be in force");
  t.match(await report("ssh", true), stalled);
  await t.rejects(follower.reconcile(), { code: "lockout" });

  const unread = { ...deps, readPartial: async () => [], openLocal: async () => new FakeEnforcer(machine) };
  const { nodes } = await reportPolicy(unread, { namespace: "default", name: "web" });
  t.match(nodes, [{ ...inSync, counters: null }], "without the disk, as the node says");

  const [now] = await store.listNodeStatus();
  if (before === undefined || now === undefined) throw new Error("no status");
  await store.writeNodeStatus(before);
  t.match(await report("ssh", true), stalled, "an agent that has just switched has not reported it");
  t.match(await report("web", true), inSync);
  await store.writeNodeStatus(now);
  sessions.length = 0;
  await follower.reconcile();
  await store.writeNodeStatus(now);
  t.match(
    await report("ssh", true),
    { state: "InSync", enforcedRevision: 2, withheld: [] },
    "nor one that has ended it",
  );
});
