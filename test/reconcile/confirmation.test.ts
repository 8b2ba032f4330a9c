import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { ControlEndpoint } from "../../src/model/management-access.js";
import type { Store } from "../../src/interfaces/store.js";
import { Follower } from "../../src/reconcile/follower.js";
import { recordTelemetry, seededRandom, silentLogger } from "../fakes/ambient.js";
import { FakeEnforcer, FakeMachine } from "../fakes/enforcer.js";
import { MemoryLastGood } from "../fakes/last-good.js";
import { FaultyStore } from "../fakes/store.js";
import { objectsOf, policy, TEST_SOURCE, workload } from "../builders/state.js";

const CLUSTER =
  "apiVersion: ztap/v1\nkind: Cluster\nmetadata: { name: cluster }\nspec: { rollout: { confirm: 10s } }\n---\n";
const BASE = CLUSTER + workload("web@n1 10.0.0.1 app=web") + workload("db@n1 10.0.0.2 app=db");
const DENY = policy("deny", "  podSelector: { matchLabels: { app: db } }\n  ingress: []");
const OPEN = policy("deny", "  podSelector: { matchLabels: { app: db } }\n  ingress: [{}]");
const STORE: ControlEndpoint = { role: "store", host: "10.9.9.9", port: 2379 };

/** A node with its disk, kernel and store: agents come and go on it. */
function setUp() {
  const store = openMemoryStore(systemClock);
  const reached = new FaultyStore(store);
  const machine = new FakeMachine();
  const lastGood = new MemoryLastGood();
  const network = { isUp: true };
  /** Ahead of the real time. */
  const skew = { ms: 0 };
  const clock = {
    ...systemClock,
    now: () => systemClock.now() + skew.ms,
    monotonic: () => systemClock.monotonic() + skew.ms,
    sleep: systemClock.sleep.bind(systemClock),
  };
  const start = (boot = "boot-1"): Follower =>
    new Follower(
      {
        store: reached,
        enforcer: new FakeEnforcer(machine),
        lastGood,
        managementAccess: null,
        reachability: { reached: async () => (network.isUp ? [STORE] : []) },
        clock,
        logger: silentLogger,
        telemetry: recordTelemetry().telemetry,
      },
      "n1",
      boot,
    );
  const isDenied = (): boolean => [...machine.items.values()].some(({ value }) => value.includes("enforce"));
  return { store, reached, machine, lastGood, network, skew, start, isDenied };
}

async function commit(store: Store, text: string): Promise<void> {
  const head = await store.readHead();
  const outcome = await store.commit(
    {
      objects: [...objectsOf(text).values()],
      source: TEST_SOURCE,
      node: "n1",
      author: "a",
      reason: "test",
      commitId: seededRandom(1).id() + String(head),
      time: "2026-01-01T00:00:00.000Z",
    },
    { expectHead: head, fence: null },
  );
  if (outcome.outcome !== "committed") throw new Error(outcome.outcome);
}

const statusOf = async (store: Store) => (await store.listNodeStatus())[0];

t.test("a revision that leaves everything reachable is confirmed, and only then kept", async (t) => {
  const { store, lastGood, start } = setUp();
  const follower = start();
  await commit(store, BASE + DENY);
  await follower.reconcile();
  t.equal(lastGood.state?.revision.number, 1, "the first revision has none before it to go back to");
  t.equal(lastGood.trial, null);
  await commit(store, BASE + OPEN);
  await follower.reconcile();
  t.match(lastGood, { state: { revision: { number: 1 } }, trial: { state: "running", revision: 2, boot: "boot-1" } });
  t.match(await statusOf(store), { enforcedRevision: 2, state: "InSync" });
  t.equal(await follower.checkTrial(), true);
  await follower.reconcile();
  t.match(lastGood, { state: { revision: { number: 2 } }, trial: null });
  t.equal(await follower.checkTrial(), false, "there is nothing more to confirm");
});

t.test("a revision that cuts off the store is gone back from, with the store away, and not taken again", async (t) => {
  const { store, reached, machine, lastGood, network, skew, start } = setUp();
  const follower = start();
  await commit(store, BASE + DENY);
  await follower.reconcile();
  const before = new Map(machine.items);
  await commit(store, BASE + OPEN);
  await follower.reconcile();
  t.notSame(machine.items, before);
  network.isUp = false;
  reached.cutOff();
  t.equal(await follower.checkTrial(), false);
  skew.ms = 11_000;
  t.equal(await follower.checkTrial(), true);
  await t.rejects(follower.reconcile(), { name: "StoreError" });
  t.same(machine.items, before);
  t.match(lastGood.trial, {
    state: "reverted",
    revision: 2,
    reason: /the store at 10\.9\.9\.9:2379 cannot be reached/,
  });
  reached.mend();
  network.isUp = true;
  await follower.reconcile();
  t.same(machine.items, before);
  await start().reconcile();
  t.same(machine.items, before, "nor by the next agent");
  t.match(await statusOf(store), {
    state: "Stalled",
    attemptedRevision: 2,
    message: /went back from it.*revision 1 is in force/,
  });
  await commit(store, BASE + OPEN + policy("more", "  podSelector: { matchLabels: { app: web } }\n  ingress: []"));
  await follower.reconcile();
  t.match(lastGood.trial, { state: "running", revision: 3 }, "a new revision is tried");
});

t.test("an agent that was killed leaves the way back to the kernel, and the next one keeps to it", async (t) => {
  const { store, machine, lastGood, skew, start } = setUp();
  const follower = start();
  await commit(store, BASE + DENY);
  await follower.reconcile();
  const before = new Map(machine.items);
  await commit(store, BASE + OPEN);
  await follower.reconcile();
  t.not(machine.deadline, null, "the kernel has a deadline of its own");
  // Killed. The time passes: for the kernel as well.
  skew.ms = 11_000;
  machine.deadline = machine.deadline && { ...machine.deadline, at: 0 };
  const next = start();
  await next.reconcile();
  t.same(machine.items, before);
  t.match(lastGood.trial, { state: "reverted", reason: /its agent ended/ });
});

t.test("an agent that comes back in time goes on with the trial, and may confirm it", async (t) => {
  const { store, machine, lastGood, start } = setUp();
  await commit(store, BASE + DENY);
  await start().reconcile();
  await commit(store, BASE + OPEN);
  await start().reconcile();
  const next = start();
  await next.reconcile();
  t.not(machine.deadline, null);
  t.equal(await next.checkTrial(), true);
  await next.reconcile();
  t.equal(machine.deadline, null);
  t.match(lastGood, { state: { revision: { number: 2 } }, trial: null });
});

t.test("after a power cut the confirmed revision is in force first, and the other one is tried again", async (t) => {
  const { store, reached, machine, lastGood, start } = setUp();
  await commit(store, BASE + DENY);
  await start().reconcile();
  const before = new Map(machine.items);
  await commit(store, BASE + OPEN);
  await start().reconcile();
  machine.items.clear();
  machine.deadline = null;
  const next = start("boot-2");
  reached.cutOff();
  await next.loadLastGood();
  t.same(machine.items, before);
  reached.mend();
  await next.reconcile();
  t.match(lastGood.trial, { state: "running", revision: 2, boot: "boot-2" });
});

t.test("workloads that only one of the two revisions has are released after the trial, not within", async (t) => {
  const { store, machine, network, skew, start } = setUp();
  const follower = start();
  await commit(store, BASE + DENY);
  await follower.reconcile();
  const before = new Map(machine.items);
  await commit(store, CLUSTER + workload("web@n1 10.0.0.1 app=web") + workload("new@n1 10.0.0.3 app=new"));
  await follower.reconcile();
  t.ok(machine.items.has("link/default/db"), "its programs stay attached");
  network.isUp = false;
  skew.ms = 11_000;
  await follower.checkTrial();
  await follower.reconcile();
  t.same(machine.items, before);
});

t.test("what is tried before the revision is in force confirms nothing", async (t) => {
  const { store, machine, lastGood, network, start } = setUp();
  const follower = start();
  await commit(store, BASE + DENY);
  await follower.reconcile();
  await commit(store, BASE + OPEN);
  const tried: Promise<boolean>[] = [];
  machine.applying = () => {
    tried.push(follower.checkTrial());
    machine.applying = () => undefined;
  };
  await follower.reconcile();
  network.isUp = false;
  t.same(await Promise.all(tried), [false]);
  t.equal(await follower.checkTrial(), false);
  await follower.reconcile();
  t.match(lastGood.trial, { state: "running" });
});

t.test("what a revision on trial cut off is asked for by the next revision, and by the next agent", async (t) => {
  for (const isKilled of [true, false]) {
    const { store, lastGood, network, start } = setUp();
    let follower = start();
    await commit(store, BASE + DENY);
    await follower.reconcile();
    await commit(store, BASE + OPEN);
    await follower.reconcile();
    network.isUp = false;
    if (isKilled) follower = start();
    else
      await commit(store, BASE + OPEN + policy("more", "  podSelector: { matchLabels: { app: web } }\n  ingress: []"));
    await follower.reconcile();
    t.equal(await follower.checkTrial(), false, isKilled ? "the next agent" : "the next revision");
    t.match(lastGood.trial, { state: "running", reached: [STORE] });
    network.isUp = true;
    t.equal(await follower.checkTrial(), true);
  }
});

t.test("damage of a confirmed revision is healed without a trial, though the disk keeps an older one", async (t) => {
  const { store, machine, lastGood, start } = setUp();
  const follower = start();
  await commit(store, BASE + DENY);
  await follower.reconcile();
  const older = lastGood.state;
  await commit(store, BASE + OPEN);
  await follower.reconcile();
  await follower.checkTrial();
  await follower.reconcile();
  lastGood.state = older;
  const before = new Map(machine.items);
  const { applied } = machine;
  machine.items.delete("link/default/db");
  await follower.reconcile();
  t.same(machine.items, before);
  t.equal(machine.applied, applied + 1);
  t.equal(lastGood.trial, null);
});

t.test("a trial that cannot be recorded does not begin", async (t) => {
  const { store, machine, lastGood, start } = setUp();
  const follower = start();
  await commit(store, BASE + DENY);
  await follower.reconcile();
  const before = new Map(machine.items);
  await commit(store, BASE + OPEN);
  lastGood.failure = "no space left";
  await t.rejects(follower.reconcile(), /no space left/);
  t.same(machine.items, before);
  lastGood.failure = null;
  await follower.reconcile();
  t.notSame(machine.items, before);
});
