import { join } from "node:path";
import t from "tap";
import { LastGoodFile } from "../../src/adapters/disk/last-good.js";
import type { LastGoodState } from "../../src/interfaces/last-good.js";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { ControlEndpoint } from "../../src/model/management-access.js";
import type { Store } from "../../src/interfaces/store.js";
import { Follower } from "../../src/reconcile/follower.js";
import { recordTelemetry, silentLogger } from "../fakes/ambient.js";
import { FakeEnforcer, FakeMachine } from "../fakes/enforcer.js";
import { fakeAccess } from "../fakes/management-access.js";
import { MemoryLastGood } from "../fakes/last-good.js";
import { draft } from "../fakes/objects.js";
import { FaultyStore } from "../fakes/store.js";
import { objectsOf, policy, workload } from "../builders/state.js";
import { commitOnHead } from "../contract/store-commits.js";

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
  const network = { isUp: true, endpoints: [STORE] };
  const access = fakeAccess({ agent: "" });
  /** Ahead of the real time. */
  const skew = { ms: 0 };
  const clock = {
    ...systemClock,
    now: () => systemClock.now() + skew.ms,
    monotonic: () => systemClock.monotonic() + skew.ms,
    sleep: systemClock.sleep.bind(systemClock),
  };
  const deps = {
    store: reached,
    managementAccess: access.reader,
    reachability: { reached: async () => (network.isUp ? network.endpoints : []) },
    clock,
    logger: silentLogger,
    telemetry: recordTelemetry().telemetry,
  };
  const start = (boot = "boot-1"): Follower =>
    new Follower({ ...deps, enforcer: new FakeEnforcer(machine), lastGood }, "n1", boot);
  const commit = (text: string) =>
    commitOnHead(store, draft([...objectsOf(text).values()].map(({ object }) => object)));
  /** The first revision is in force, and the second one on trial. */
  const onTrial = async () => {
    const follower = start();
    await commit(BASE + DENY);
    await follower.reconcile();
    const before = new Map(machine.items);
    await commit(BASE + OPEN);
    await follower.reconcile();
    return { follower, before };
  };
  return { store, reached, machine, lastGood, network, access, skew, start, commit, onTrial, deps };
}

const statusOf = async (store: Store) => (await store.listNodeStatus())[0];

t.test("a revision that leaves everything reachable is confirmed, and only then kept", async (t) => {
  const { store, lastGood, start, commit } = setUp();
  const follower = start();
  await commit(BASE + DENY);
  await follower.reconcile();
  t.equal(lastGood.state?.revision.number, 1, "the first revision has none before it to go back to");
  t.equal(lastGood.trial, null);
  await commit(BASE + OPEN);
  await follower.reconcile();
  t.match(lastGood, { state: { revision: { number: 1 } }, trial: { state: "running", revision: 2, boot: "boot-1" } });
  t.match(await statusOf(store), { enforcedRevision: 2, state: "InSync" });
  t.equal(await follower.checkTrial(), true);
  await follower.reconcile();
  t.match(lastGood, { state: { revision: { number: 2 } }, trial: null });
  t.equal(await follower.checkTrial(), false, "there is nothing more to confirm");
});

t.test("a revision that cuts off the store is gone back from, with the store away, and not taken again", async (t) => {
  const { store, reached, machine, lastGood, network, skew, start, commit, onTrial } = setUp();
  const { follower, before } = await onTrial();
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
  await commit(BASE + OPEN + policy("more", "  podSelector: { matchLabels: { app: web } }\n  ingress: []"));
  await follower.reconcile();
  t.match(lastGood.trial, { state: "running", revision: 3 }, "a new revision is tried");
});

t.test("an agent that was killed leaves the way back to the kernel, and the next one keeps to it", async (t) => {
  const { machine, lastGood, skew, start, onTrial } = setUp();
  const { before } = await onTrial();
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
  const { machine, lastGood, start, onTrial } = setUp();
  await onTrial();
  const next = start();
  await next.reconcile();
  t.not(machine.deadline, null);
  t.equal(await next.checkTrial(), true);
  await next.reconcile();
  t.equal(machine.deadline, null);
  t.match(lastGood, { state: { revision: { number: 2 } }, trial: null });
});

t.test("after a power cut the confirmed revision is in force first, and the other one is tried again", async (t) => {
  const { reached, machine, lastGood, start, onTrial } = setUp();
  const { before } = await onTrial();
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
  const { machine, network, skew, start, commit } = setUp();
  const follower = start();
  await commit(BASE + DENY);
  await follower.reconcile();
  const before = new Map(machine.items);
  await commit(CLUSTER + workload("web@n1 10.0.0.1 app=web") + workload("new@n1 10.0.0.3 app=new"));
  await follower.reconcile();
  t.ok(machine.items.has("link/default/db"), "its programs stay attached");
  network.isUp = false;
  skew.ms = 11_000;
  await follower.checkTrial();
  await follower.reconcile();
  t.same(machine.items, before);
});

t.test("what is tried before the revision is in force confirms nothing", async (t) => {
  const { machine, lastGood, network, start, commit } = setUp();
  const follower = start();
  await commit(BASE + DENY);
  await follower.reconcile();
  await commit(BASE + OPEN);
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
    const { lastGood, network, start, commit, onTrial } = setUp();
    let { follower } = await onTrial();
    network.isUp = false;
    if (isKilled) follower = start();
    else await commit(BASE + OPEN + policy("more", "  podSelector: { matchLabels: { app: web } }\n  ingress: []"));
    await follower.reconcile();
    t.equal(await follower.checkTrial(), false, isKilled ? "the next agent" : "the next revision");
    t.match(lastGood.trial, { state: "running", reached: [STORE] });
    network.isUp = true;
    t.equal(await follower.checkTrial(), true);
  }
});

t.test("damage of a confirmed revision is healed without a trial, though the disk keeps an older one", async (t) => {
  const { machine, lastGood, onTrial } = setUp();
  const { follower } = await onTrial();
  const older = lastGood.state;
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

t.test("a full disk does not keep a node from going back", async (t) => {
  const { machine, lastGood, network, skew, onTrial } = setUp();
  const { follower, before } = await onTrial();
  network.isUp = false;
  lastGood.failure = "no space left";
  skew.ms = 11_000;
  await follower.checkTrial();
  await follower.reconcile();
  t.same(machine.items, before);
  await follower.reconcile();
  t.same(machine.items, before, "and it does not take the revision again");
});

t.test("one member of a store that is down for a reason of its own takes nobody back", async (t) => {
  const { lastGood, network, onTrial } = setUp();
  const other = { ...STORE, host: "10.9.9.8" };
  network.endpoints = [STORE, other];
  const { follower } = await onTrial();
  network.endpoints = [other];
  t.equal(await follower.checkTrial(), true);
  await follower.reconcile();
  t.match(lastGood, { state: { revision: { number: 2 } }, trial: null });
});

t.test("a session that the confirmed revision cuts as well takes nobody back, and another one does", async (t) => {
  const SESSION = { peer: "192.0.2.9", port: 22 };
  for (const [cgroups, isConfirmed] of [
    [["test/default-db/ssh"], true],
    [["test/default-web/ssh"], false],
  ] as const) {
    const { access, start, commit } = setUp();
    const follower = start();
    await commit(BASE + DENY);
    await follower.reconcile();
    const more = policy("more", "  podSelector: { matchLabels: { app: web } }\n  ingress: []");
    await commit(BASE + DENY + more);
    await follower.reconcile();
    access.sessions = [{ ...SESSION, cgroups }];
    t.equal(await follower.checkTrial(), isConfirmed, cgroups[0]);
  }
});

t.test("an undo within a trial ends it, for this agent and the next", async (t) => {
  for (const isKilled of [true, false]) {
    const { machine, lastGood, skew, start, commit, onTrial } = setUp();
    const { follower: first, before } = await onTrial();
    const follower = isKilled ? start() : first;
    await commit(BASE + DENY);
    await follower.reconcile();
    t.same(machine.items, before);
    t.match(lastGood, { state: { revision: { number: 3 } }, trial: null });
    skew.ms = 11_000;
    t.equal(await follower.checkTrial(), false);
    await follower.reconcile();
    t.equal(lastGood.trial, null, "nothing is taken back from");
  }
});

t.test("a trial that cannot be recorded does not begin", async (t) => {
  const { machine, lastGood, start, commit } = setUp();
  const follower = start();
  await commit(BASE + DENY);
  await follower.reconcile();
  const before = new Map(machine.items);
  await commit(BASE + OPEN);
  lastGood.failure = "no space left";
  await t.rejects(follower.reconcile(), /no space left/);
  t.same(machine.items, before);
  lastGood.failure = null;
  await follower.reconcile();
  t.notSame(machine.items, before);
});

/** Ends a process at one of its steps: what it waits for then never comes. */
class Mortality {
  step = 0;
  isDead = false;
  /** Called at the death. */
  onDeath: () => void = () => undefined;

  constructor(private readonly last: number) {}

  async pass(): Promise<void> {
    if (!this.isDead && this.step < this.last) {
      this.step += 1;
      return;
    }
    this.isDead = true;
    this.onDeath();
    await new Promise(() => undefined);
  }

  /** Steps before and after each write. */
  disk(file: LastGoodState): LastGoodState {
    const step = async (write: () => Promise<void>): Promise<void> => {
      await this.pass();
      await write();
      await this.pass();
    };
    return {
      read: () => file.read(),
      readAnnounced: () => file.readAnnounced(),
      readTrial: () => file.readTrial(),
      readOverrides: () => file.readOverrides(),
      write: (state) => step(() => file.write(state)),
      writeEndpoints: (endpoints) => step(() => file.writeEndpoints(endpoints)),
      announce: (state) => step(() => file.announce(state)),
      writeTrial: (trial) => step(() => file.writeTrial(trial)),
      writeOverrides: (overrides) => step(() => file.writeOverrides(overrides)),
    };
  }
}

for (const isReachable of [true, false]) {
  const title = isReachable ? "is confirmed" : "is gone back from";
  t.test(`a power cut at each step of a trial that ${title} leaves a confirmed revision`, async (t) => {
    const found = new Set<number>();
    let steps = 0;
    for (let last = 0; ; last += 1) {
      const { reached, machine, network, skew, commit, deps } = setUp();
      const file = new LastGoodFile(join(t.testdir(), "n1.json.gz"), silentLogger);
      const follower = (lastGood: LastGoodState, boot: string, enforcer: FakeEnforcer): Follower =>
        new Follower({ ...deps, lastGood, enforcer }, "n1", boot);
      await commit(BASE + DENY);
      await follower(file, "boot-1", new FakeEnforcer(machine)).reconcile();
      const confirmed = new Map(machine.items);
      await commit(BASE + OPEN);
      network.isUp = true;
      const mortality = new Mortality(last);
      const host = { pause: () => mortality.pass(), deliver: (run: () => void) => run() };
      const mortal = follower(mortality.disk(file), "boot-1", new FakeEnforcer(machine, host));
      const live = async (): Promise<boolean> => {
        await mortal.reconcile();
        network.isUp = isReachable;
        if (!isReachable) await mortal.checkTrial();
        if (!isReachable) skew.ms = 11_000;
        await mortal.checkTrial();
        await mortal.reconcile();
        return true;
      };
      const isDone = await Promise.race([
        live(),
        new Promise<false>((resolve) => (mortality.onDeath = () => resolve(false))),
      ]);
      // The kernel forgets everything; the disk does not. The store is away.
      machine.items.clear();
      machine.deadline = null;
      reached.cutOff();
      await t.rejects(follower(file, "boot-2", new FakeEnforcer(machine)).reconcile(), { name: "StoreError" });
      const inForce = (await file.read())?.revision.number ?? 0;
      found.add(inForce);
      t.equal(JSON.stringify([...machine.items]) === JSON.stringify([...confirmed]), inForce === 1, `step ${last}`);
      t.ok(machine.items.size > 0, "something is in force");
      if (!isReachable) t.equal(inForce, 1, "what was not confirmed is not in force");
      reached.mend();
      steps = last;
      if (isDone) break;
    }
    t.ok(steps > 8, `${steps} steps`);
    t.same([...found], isReachable ? [1, 2] : [1]);
  });
}
