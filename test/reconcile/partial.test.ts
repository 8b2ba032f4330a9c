/** What the follower does with a machine that holds a ruleset and lacks attachments of it. Each case was found by test/sim. */
import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { Follower } from "../../src/reconcile/follower.js";
import { objectsOf, policy, workload } from "../builders/state.js";
import { commitOnHead } from "../contract/store-commits.js";
import { recordTelemetry, silentLogger } from "../fakes/ambient.js";
import { FakeEnforcer, FakeMachine } from "../fakes/enforcer.js";
import { MemoryLastGood } from "../fakes/last-good.js";
import { draft } from "../fakes/objects.js";
import { FaultyStore } from "../fakes/store.js";

const BASE = workload("web@n1 10.0.0.1 app=web") + workload("db@n1 10.0.0.2 app=db");
const DENY = BASE + policy("deny", "  podSelector: { matchLabels: { app: db } }\n  ingress: []");
const OPEN = BASE + policy("deny", "  podSelector: { matchLabels: { app: db } }\n  ingress: [{}]");

function setUp() {
  const store = new FaultyStore(openMemoryStore(systemClock));
  const machine = new FakeMachine();
  machine.places.set("default/web", "cgroup-web").set("default/db", "cgroup-db");
  const deps = {
    store,
    enforcer: new FakeEnforcer(machine),
    lastGood: new MemoryLastGood(),
    managementAccess: null,
    clock: systemClock,
    logger: silentLogger,
    telemetry: recordTelemetry().telemetry,
  };
  const commit = (text: string) =>
    commitOnHead(store, draft([...objectsOf(text).values()].map(({ object }) => object)));
  /** The workload's cgroup is made anew: nothing is attached to it. */
  const restart = (name: string): void => {
    machine.items.delete(`link/default/${name}`);
    machine.items.delete(`subject/default/${name}`);
    machine.places.set(`default/${name}`, "another");
  };
  return { store, machine, deps, commit, restart, follower: new Follower(deps, "n1") };
}

t.test("a report of drift never calls a workload enforced that was started again and is open", async (t) => {
  const { store, machine, commit, restart, follower } = setUp();
  await commit(DENY);
  await follower.reconcile();
  restart("db");
  machine.items.delete("link/default/web");
  store.statuses.splice(0);
  await follower.reconcile();
  t.match(store.statuses, [
    {
      state: "Drifted",
      drift: [{ workload: "default/web" }],
      subjects: [
        { workload: "default/db", state: "Stalled" },
        { workload: "default/web", state: "Stalled" },
      ],
    },
    { state: "InSync", healed: 1, subjects: [{ state: "Enforced" }, { state: "Enforced" }] },
  ]);
});

t.test("a head that is in force but for one attachment is kept to while the store is away", async (t) => {
  const { store, machine, commit, restart, follower } = setUp();
  await commit(DENY);
  await follower.reconcile();
  await commit(OPEN);
  restart("web");
  machine.refused.add("default/web");
  await t.rejects(follower.reconcile(), /Attaching to default\/web failed/);
  const held = new Map(machine.items);
  t.match((await store.listNodeStatus())[0]?.subjects, [
    { workload: "default/db", state: "Enforced" },
    { workload: "default/web", state: "Stalled" },
  ]);
  store.cutOff();
  await t.rejects(follower.reconcile(), { code: "store-unavailable" });
  t.strictSame(machine.items, held, "the node does not go back to the revision before");
  machine.refused.clear();
  await t.rejects(follower.reconcile(), { code: "store-unavailable" });
  t.ok(machine.items.has("link/default/web"), "and what is missing is attached as soon as it can be");
});

t.test("a head that never came into force leaves the last good ruleset to be kept to", async (t) => {
  const { store, machine, commit, follower } = setUp();
  await commit(DENY);
  await follower.reconcile();
  const good = new Map(machine.items);
  await commit(OPEN);
  machine.failApply = "no memory";
  await t.rejects(follower.reconcile(), /no memory/);
  machine.failApply = null;
  store.cutOff();
  machine.items.delete("link/default/db");
  await t.rejects(follower.reconcile(), { code: "store-unavailable" });
  t.strictSame(machine.items, good);
});

t.test("a start without the store attaches to what was started again while no agent ran", async (t) => {
  const { store, machine, deps, commit, restart, follower } = setUp();
  await commit(DENY);
  await follower.reconcile();
  const good = new Map(machine.items);
  restart("db");
  store.cutOff();
  const next = new Follower(deps, "n1");
  await next.loadLastGood();
  t.strictSame(machine.items, good);
  t.equal(next.enforcedRevision, 1);
});

t.test("records that nothing is attached by do not keep the last good ruleset off", async (t) => {
  const { store, machine, deps, commit, follower } = setUp();
  await commit(DENY);
  await follower.reconcile();
  const good = new Map(machine.items);
  await commit(OPEN);
  for (const name of ["web", "db"]) machine.items.delete(`link/default/${name}`);
  machine.refused.add("default/web").add("default/db");
  await t.rejects(follower.reconcile(), /Attaching/);
  machine.refused.clear();
  store.cutOff();
  await new Follower(deps, "n1").loadLastGood();
  t.strictSame(machine.items, good, "the older revision protects more than nothing");
});
