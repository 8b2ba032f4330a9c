import t from "tap";
import { MemoryTable, openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { MOST_SERVER_CGROUPS, MOST_SERVERS } from "../../src/model/management-access.js";
import type { CommittedState } from "../../src/model/state.js";
import type { LastGoodState } from "../../src/interfaces/last-good.js";
import type { Store } from "../../src/interfaces/store.js";
import { StoreError } from "../../src/interfaces/store.js";
import { readClusterStatus } from "../../src/operations/cluster/membership.js";
import { Follower } from "../../src/reconcile/follower.js";
import { recordTelemetry, seededRandom, silentLogger } from "../fakes/ambient.js";
import { FakeEnforcer, FakeMachine } from "../fakes/enforcer.js";
import { fakeAccess } from "../fakes/management-access.js";
import { MemoryLastGood } from "../fakes/last-good.js";
import { FaultyStore } from "../fakes/store.js";
import { objectsOf, policy, TEST_SOURCE, workload } from "../builders/state.js";

const BASE = workload("web@n1 10.0.0.1 app=web") + workload("db@n1 10.0.0.2 app=db");
const DENY = policy("deny", "  podSelector: { matchLabels: { app: db } }\n  ingress: []");
const OPEN = policy("deny", "  podSelector: { matchLabels: { app: db } }\n  ingress: [{}]");

function setUp(lastGood: LastGoodState | null = null) {
  const store = openMemoryStore(systemClock);
  /** The same store, as the follower reaches it. */
  const reached = new FaultyStore(store);
  const machine = new FakeMachine();
  const { telemetry, calls } = recordTelemetry();
  const deps = {
    store: reached,
    enforcer: new FakeEnforcer(machine),
    lastGood,
    managementAccess: null,
    clock: systemClock,
    logger: silentLogger,
    telemetry,
  };
  return { store, reached, machine, calls, deps, follower: new Follower(deps, "n1") };
}

async function commit(store: Store, text: string, attempt = ""): Promise<void> {
  const random = seededRandom(1);
  const head = await store.readHead();
  const outcome = await store.commit(
    {
      objects: [...objectsOf(text).values()],
      source: TEST_SOURCE,
      node: "n1",
      author: "a",
      reason: "test",
      commitId: random.id() + String(head) + attempt,
      time: "2026-01-01T00:00:00.000Z",
    },
    { expectHead: head, fence: null },
  );
  if (outcome.outcome !== "committed") throw new Error(outcome.outcome);
}

t.test("an empty store enforces nothing and says so", async (t) => {
  const { store, follower, machine } = setUp();
  await follower.reconcile();
  t.match(await store.listNodeStatus(), [{ node: "n1", state: "Stalled", message: /nothing was committed/ }]);
  t.equal(machine.applied, 0);
});

t.test("follows head, and does nothing where nothing differs", async (t) => {
  const { store, follower, machine } = setUp();
  await commit(store, BASE + DENY);
  await follower.reconcile();
  t.match(await store.listNodeStatus(), [{ state: "InSync", attemptedRevision: 1, enforcedRevision: 1, drift: [] }]);
  await follower.reconcile();
  t.equal(machine.applied, 1);
  await commit(store, BASE + OPEN);
  await follower.reconcile();
  t.equal(machine.applied, 2);
  t.equal(follower.enforcedRevision, 2);
});

t.test("a new revision is no drift; tampering is, is reported before it is healed, and counted", async (t) => {
  const { store, reached, follower, machine, calls } = setUp();
  await commit(store, BASE + DENY);
  await follower.reconcile();
  t.notOk(calls.some(([name]) => name === "drift"));
  machine.items.delete("link/default/db");
  machine.items.set("stray", { key: "stray", value: "x", type: "entry", label: "a stray entry" });
  reached.statuses.length = 0;
  await follower.reconcile();
  t.same(
    reached.statuses.map(({ state, drift }) => [state, drift.length]),
    [
      ["Drifted", 2],
      ["InSync", 0],
    ],
  );
  t.match(await store.listNodeStatus(), [{ state: "InSync", healed: 2, message: "healed 2 differences" }]);
  t.same(
    calls.filter(([name]) => name === "drift"),
    [
      ["drift", "extra", 1],
      ["drift", "detached", 1],
    ],
  );
});

t.test("a backend that fails keeps the last good ruleset in force and says why", async (t) => {
  const { store, follower, machine } = setUp();
  await commit(store, BASE + DENY);
  await follower.reconcile();
  await commit(store, BASE + OPEN);
  machine.failApply = "no memory for the table";
  await t.rejects(follower.reconcile(), /no memory/);
  t.match(await store.listNodeStatus(), [
    { state: "Stalled", attemptedRevision: 2, enforcedRevision: 1, message: "no memory for the table" },
  ]);
  t.match(follower.problem, /no memory/);
  machine.failApply = null;
  await follower.reconcile();
  t.match(await store.listNodeStatus(), [{ state: "InSync", enforcedRevision: 2 }]);
  t.equal(follower.problem, null);
});

t.test("a store that lost everything does not take enforcement away", async (t) => {
  const { store, reached, follower, machine } = setUp();
  await commit(store, BASE + DENY);
  await follower.reconcile();
  reached.inner = openMemoryStore(systemClock);
  await t.rejects(follower.reconcile(), StoreError);
  t.ok(machine.items.has("link/default/db"));
  t.match(follower.problem, /stays in force/);
});

t.test(
  "damage is healed also while the store is away, and a status that cannot be written stops nothing",
  async (t) => {
    const { store, reached, follower, machine } = setUp();
    await commit(store, BASE + DENY);
    await follower.reconcile();
    reached.cutOff();
    machine.items.delete("link/default/db");
    await t.rejects(follower.reconcile(), { code: "store-unavailable" });
    t.ok(machine.items.has("link/default/db"));
    t.match(follower.problem, /no route to the store/);
    reached.mend();
    await follower.reconcile();
    t.match(await store.listNodeStatus(), [{ state: "InSync", healed: 1, message: "healed 1 difference" }]);
  },
);

t.test("what was wrong is not said any more once it is right", async (t) => {
  const { store, follower, machine } = setUp();
  await commit(store, BASE + DENY);
  machine.failApply = "no memory for the table";
  await t.rejects(follower.reconcile());
  machine.failApply = null;
  await follower.reconcile();
  t.match(await store.listNodeStatus(), [{ state: "InSync", message: null }]);
});

t.test("a start with the store away enforces the copy of what was last enforced", async (t) => {
  const copy = new MemoryLastGood();
  const kept = copy.written;
  const { store, follower, deps } = setUp(copy);
  await commit(store, BASE + DENY);
  await follower.reconcile();
  await follower.reconcile();
  t.equal(kept.length, 1, "kept once, when it was enforced");

  const machine = new FakeMachine();
  machine.failApply = "no memory";
  await commit(store, BASE + OPEN);
  await t.rejects(new Follower({ ...deps, enforcer: new FakeEnforcer(machine) }, "n1").reconcile());
  t.equal(kept.length, 1, "what could not be enforced is not the last good state");

  const rebooted = new FakeMachine();
  const away = new FaultyStore(store);
  away.cutOff();
  const fresh = new Follower({ ...deps, store: away, enforcer: new FakeEnforcer(rebooted) }, "n1");
  await t.rejects(fresh.reconcile(), { code: "store-unavailable" });
  t.equal(fresh.enforcedRevision, 1);
  t.ok(rebooted.items.has("link/default/db"));
  const empty = new Follower(
    { ...deps, store: openMemoryStore(systemClock), enforcer: new FakeEnforcer(new FakeMachine()) },
    "n1",
  );
  await t.rejects(empty.reconcile(), /the store is empty, but revision 1 was in force/);
});

t.test("the versions of policies are those of head, also if an earlier state is restored", async (t) => {
  const copy = new MemoryLastGood();
  const { store, follower, deps } = setUp(copy);
  await commit(store, BASE + DENY);
  await follower.reconcile();
  await commit(store, BASE + OPEN);
  const { telemetry, calls } = recordTelemetry();
  const versions = () => calls.filter(([name]) => name === "policyVersions").map(([, found]) => found);
  const rebooted = { enforcer: new FakeEnforcer(new FakeMachine()), telemetry, lastGood: copy };
  const next = new Follower({ ...deps, ...rebooted }, "n1");
  await next.loadLastGood();
  t.equal(next.enforcedRevision, 1);
  t.strictSame(versions(), [], "which head has is not known yet");
  await next.reconcile();
  t.match(versions(), [[{ name: "deny", version: 2 }]]);
});

t.test("where head cannot be applied, the last good ruleset is kept to, and the status says why", async (t) => {
  const { store, follower, machine } = setUp();
  await commit(store, BASE + DENY);
  await follower.reconcile();
  await commit(store, BASE + OPEN);
  machine.failApply = "no memory for the table";
  await t.rejects(follower.reconcile(), /no memory/);
  const [status] = await store.listNodeStatus();
  await t.rejects(follower.reconcile(), /no memory/);
  t.same(await store.listNodeStatus(), [status], "said once, and not in turns with InSync");
  t.match(status, { state: "Stalled", attemptedRevision: 2, enforcedRevision: 1 });
});

t.test("what was in force before a reboot is enforced again, whoever has logged in meanwhile", async (t) => {
  const { store, deps } = setUp();
  await commit(store, BASE + DENY);
  const copy = new MemoryLastGood();
  await new Follower({ ...deps, lastGood: copy }, "n1").reconcile();
  const sessions = [{ peer: "192.0.2.9", port: 22, cgroups: ["test/default-db/ssh"] }];
  const managementAccess = fakeAccess({ sessions }).reader;
  const machine = new FakeMachine();
  const rebooted = new Follower(
    { ...deps, lastGood: copy, managementAccess, enforcer: new FakeEnforcer(machine) },
    "n1",
  );
  await rebooted.loadLastGood();
  t.equal(rebooted.enforcedRevision, 1);
  await rebooted.reconcile();
  t.match(machine.items.get("subject/default/db")?.value, /ingress/);
});

t.test("what takes the address of a session from its server is not enforced, as a whole", async (t) => {
  const { store, reached, calls, deps } = setUp();
  const access = fakeAccess();
  const follower = new Follower({ ...deps, managementAccess: access.reader }, "n1");
  const withheld = () => calls.filter(([name]) => name === "withheld").at(-1)?.[1];
  const ssh =
    `---\napiVersion: ztap/v1\nkind: Workload\nmetadata: { name: ssh }\n` +
    `spec: { node: n1, cgroup: ssh.service, addresses: [] }\n`;
  await commit(store, BASE + ssh + OPEN);
  await follower.reconcile();
  access.sessions = [{ peer: "192.0.2.9", address: "10.0.0.9", port: 22, cgroups: ["ssh.service"] }];
  await commit(store, BASE + ssh + workload("new@n1 10.0.0.9 app=new") + DENY);
  await t.rejects(follower.reconcile(), { code: "lockout", message: /may not use the address 10\.0\.0\.9/ });
  t.match(await store.listNodeStatus(), [{ state: "Stalled", enforcedRevision: 1 }]);
  t.equal(withheld(), 4, "every workload of the node");
  reached.cutOff();
  await t.rejects(follower.reconcile(), { code: "store-unavailable" });
  t.equal(withheld(), 4, "also while the store is away");
  reached.mend();
  access.sessions = [];
  await follower.reconcile();
  t.match(await store.listNodeStatus(), [{ state: "InSync", enforcedRevision: 2 }]);
  t.equal(withheld(), 0);
});

t.test("a node reports a bounded number of servers, so that its report can be read", async (t) => {
  const { store, deps } = setUp();
  const cgroups = Array.from({ length: MOST_SERVER_CGROUPS + 6 }, (_cgroup, at) => `w/${at}`);
  const servers = Array.from({ length: MOST_SERVERS + 4 }, (_server, port) => ({
    role: "store" as const,
    port,
    cgroups,
  }));
  await commit(store, BASE);
  await new Follower({ ...deps, managementAccess: fakeAccess({ servers }).reader }, "n1").reconcile();
  const [status] = await store.listNodeStatus();
  t.equal(status?.servers?.length, MOST_SERVERS);
  t.strictSame(status?.servers?.[0]?.cgroups, cgroups.slice(0, MOST_SERVER_CGROUPS));
});

t.test("a search that was cut short does not hold policy up, and is reported", async (t) => {
  const { store, deps } = setUp();
  const access = fakeAccess({ isComplete: false, problem: "in a cgroup namespace" });
  const follower = new Follower({ ...deps, managementAccess: access.reader }, "n1");
  await commit(store, BASE + DENY);
  await follower.reconcile();
  const warnings = ["in a cgroup namespace", /had to end before it had read all processes/];
  t.match(await store.listNodeStatus(), [{ state: "InSync", enforcedRevision: 1, warnings }]);
  const { nodes } = await readClusterStatus({ store, clock: systemClock });
  t.match(nodes, [{ message: /has not joined/ }]);
  await store.joinMember({ id: "n1", address: "n1:1", joinedAt: "2026-01-01T00:00:00.000Z" });
  await store.heartbeat({ id: "n1", address: "n1:1", holder: "h" }, 60_000);
  t.match((await readClusterStatus({ store, clock: systemClock })).nodes, [
    { message: /in a cgroup namespace; the search for SSH sessions/ },
  ]);

  access.isComplete = true;
  access.problem = null;
  await commit(store, BASE + OPEN);
  await follower.reconcile();
  t.notOk((await store.listNodeStatus())[0]?.warnings);
});

t.test("a workload whose cgroup is absent is Pending, not drifted, and enforced when it appears", async (t) => {
  const { store, follower, machine } = setUp();
  machine.absent.add("default/db");
  await commit(store, BASE + DENY);
  await follower.reconcile();
  const [status] = await store.listNodeStatus();
  t.match(status, { state: "InSync", drift: [] });
  t.match(status?.subjects, [
    { workload: "default/db", state: "Pending" },
    { workload: "default/web", state: "Enforced" },
  ]);
  machine.absent.clear();
  await follower.reconcile();
  t.ok(machine.items.has("link/default/db"));
});

t.test("what stays wrong is reported once, and no run is the reason for another", async (t) => {
  const { store, reached, machine, follower } = setUp();
  await commit(store, BASE + DENY);
  await follower.reconcile();
  reached.refuse = (call) => (call === "readState" ? new StoreError("object-damaged", "its digest is another") : null);
  await commit(store, BASE + OPEN);
  for (let run = 0; run < 3; run += 1) await t.rejects(follower.reconcile());
  t.match(reached.statuses, [
    { state: "InSync", enforcedRevision: 1 },
    { state: "Stalled", message: "its digest is another", attemptedRevision: 2, enforcedRevision: 1, subjects: [] },
  ]);
  t.equal(reached.statuses.length, 2);
  machine.items.clear();
  await t.rejects(follower.reconcile());
  t.ok(machine.items.size > 0, "the last good ruleset is kept up meanwhile");
  t.ok(
    reached.statuses.slice(1).every(({ state }) => state !== "InSync"),
    "and never called in sync",
  );
});

/** Returns states with other objects than were committed. */
class OddStore extends FaultyStore {
  constructor(
    inner: Store,
    private readonly objects: ReadonlyMap<string, unknown>,
  ) {
    super(inner);
  }

  override async readState(number: number): Promise<CommittedState> {
    const { revision } = await super.readState(number);
    return { revision, objects: this.objects as CommittedState["objects"] };
  }
}

t.test("the last good ruleset is held against damage where head cannot be read, compiled or lowered", async (t) => {
  const { store, reached, follower, machine } = setUp();
  await commit(store, BASE + DENY);
  await follower.reconcile();
  const good = new Map(machine.items);
  await commit(store, BASE + OPEN);
  const broken = new Map([["NetworkPolicy/default/deny", { object: { kind: "NetworkPolicy", metadata: {} } }]]);
  const troubles: Readonly<Record<string, () => void>> = {
    "cannot be read": () => {
      reached.refuse = (call) =>
        call === "readState" ? new StoreError("object-damaged", "the object is damaged") : null;
    },
    "cannot be compiled": () => {
      reached.mend();
      reached.inner = new OddStore(store, broken);
    },
    "cannot be lowered": () => {
      reached.inner = store;
      machine.failLower = "it needs more entries than there are";
    },
  };
  for (const [name, begin] of Object.entries(troubles)) {
    begin();
    machine.items.delete("link/default/db");
    machine.items.set("stray", { key: "stray", value: "x", type: "entry", label: "a stray entry" });
    await t.rejects(follower.reconcile(), name);
    t.strictSame(machine.items, good, `${name}: what stands is mended`);
    t.equal(follower.enforcedRevision, 1);
  }
  t.match(await store.listNodeStatus(), [{ state: "Stalled", attemptedRevision: 2, message: /more entries/ }]);
  machine.failLower = null;
  await follower.reconcile();
  t.match(await store.listNodeStatus(), [{ state: "InSync", enforcedRevision: 2 }]);
});

t.test("a workload is Enforced when its programs are attached, and not because its cgroup exists", async (t) => {
  const { store, follower, machine } = setUp();
  machine.refused.add("default/db");
  await commit(store, BASE + DENY);
  await t.rejects(follower.reconcile(), /Attaching to default\/db failed/);
  const [status] = await store.listNodeStatus();
  t.match(status, { state: "Stalled", message: /Attaching to default\/db failed/ });
  t.strictSame(status?.subjects, [
    { workload: "default/db", state: "Stalled", message: "program on default/db is not attached", place: "first" },
    { workload: "default/web", state: "Enforced", place: "first" },
  ]);
  machine.refused.clear();
  await follower.reconcile();
  t.match((await store.listNodeStatus())[0]?.subjects, [{ state: "Enforced" }, { state: "Enforced" }]);
});

t.test("a store that was set back, and holds another revision under the same number, is followed", async (t) => {
  const { store, reached, machine, follower } = setUp();
  const restored = openMemoryStore(systemClock, new MemoryTable());
  await commit(store, BASE + DENY);
  await commit(restored, BASE + OPEN, "another");
  await follower.reconcile();
  await follower.reconcile();
  t.equal(machine.applied, 1);
  reached.inner = restored;
  await follower.reconcile();
  t.equal(machine.applied, 2, "what this revision 1 says is enforced");
});

t.test("a kernel that enforces something newer than the copy is not taken back to it", async (t) => {
  const copy = new MemoryLastGood();
  const { store, follower, deps, machine } = setUp(copy);
  await commit(store, BASE + OPEN);
  await follower.reconcile();
  copy.failure = "no space left on the disk";
  await commit(store, BASE + DENY);
  await follower.reconcile();
  const before = [...machine.items.values()];
  const away = new FaultyStore(store);
  away.cutOff();
  const next = new Follower({ ...deps, store: away }, "n1");
  await t.rejects(next.reconcile(), { code: "store-unavailable" });
  t.same([...machine.items.values()], before);
});
