import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { DiscoveredWorkload } from "../../src/api/policy-enforcer.js";
import { createPolicyEnforcer } from "../../src/api/policy-enforcer.js";
import { createPolicySync } from "../../src/api/policy-sync.js";
import { Notifier } from "../../src/interfaces/notifier.js";
import { policy } from "../builders/state.js";
import { FakeDiscovery } from "../fakes/discovery.js";
import { FakeEnforcer, FakeMachine } from "../fakes/enforcer.js";
import { waitUntil } from "../wait.js";

const ALLOW_DB = policy(
  "web",
  "  podSelector: { matchLabels: { app: web } }\n  egress: [{ to: [{ podSelector: { matchLabels: { app: db } } }] }]",
);
const WEB = { name: "web", labels: { app: "web" }, addresses: ["10.0.0.1"], cgroup: "test/web" };
const db = (address: string) => ({ name: "db", labels: { app: "db" }, addresses: [address] });

async function setUp(t: { teardown(end: () => Promise<void>): unknown }) {
  const store = openMemoryStore(systemClock);
  const machine = new FakeMachine();
  const changed = new Notifier();
  const processes = new FakeDiscovery();
  const found: { workloads: readonly DiscoveredWorkload[]; error: Error | null } = { workloads: [], error: null };
  const enforcer = createPolicyEnforcer({
    node: "n1",
    store,
    enforcer: new FakeEnforcer(machine),
    // Nothing but the wake-ups moves it.
    checkIntervalMs: 3_600_000,
    processes,
    discovery: {
      listWorkloads: async () => {
        if (found.error !== null) throw found.error;
        return found.workloads;
      },
      async *watch(signal) {
        for (;;) {
          await changed.wait(signal);
          if (signal.aborted) return;
          yield;
        }
      },
    },
  });
  t.teardown(() => enforcer.stop());
  const discover = (...workloads: readonly DiscoveredWorkload[]) => {
    found.workloads = workloads;
    changed.notify();
  };
  const items = () => JSON.stringify([...machine.items.values()]);
  return {
    store,
    machine,
    enforcer,
    processes,
    found,
    changed,
    discover,
    items,
    policies: createPolicySync(store, { node: "n1" }),
  };
}

t.test("policies of the store are enforced on discovered workloads: labels, addresses, cgroup", async (t) => {
  const { store, enforcer, policies, discover, items } = await setUp(t);
  await enforcer.start();
  t.match(enforcer.problem, /nothing was committed/);
  discover(WEB, db("10.0.0.2"));
  await policies.syncPolicy(ALLOW_DB, { name: "web" });
  await waitUntil(() => enforcer.enforcedRevision === 1 && items().includes("10.0.0.2/32"), {
    what: "the first revision",
  });
  t.equal(enforcer.problem, null);
  t.match(items(), /link\/default\/web/);
  t.notMatch(items(), /link\/default\/db/, "without a cgroup it is only a peer");

  discover(WEB, db("10.0.0.9"));
  await waitUntil(() => items().includes("10.0.0.9/32"), { what: "the address that changed" });
  t.notMatch(items(), /10\.0\.0\.2/);
  t.equal(await store.readHead(), 1, "of which the store knows nothing");
  t.match(await store.listNodeStatus(), [{ node: "n1", state: "InSync", enforcedRevision: 1 }]);
});

t.test(
  "processes of discovered patterns become instances, which are enforced and reported as an agent's",
  async (t) => {
    const { store, enforcer, policies, processes, discover, items } = await setUp(t);
    processes.addresses = ["10.0.0.7"];
    processes.create("test/web-1");
    processes.create("test/other");
    const pattern = { name: "web", labels: { app: "web" }, process: { cgroup: "test/web-*" } };
    discover(pattern, db("10.0.0.2"));
    await policies.syncPolicy(ALLOW_DB, { name: "web" });
    await enforcer.start();
    await waitUntil(() => items().includes("link/default/web@n1/test/web-1"), { what: "the first instance" });
    processes.create("test/web-2");
    await waitUntil(() => items().includes("link/default/web@n1/test/web-2"), { what: "the second instance" });
    t.notMatch(items(), /test\/other/);
    const reported = async () =>
      (await store.listEndpoints())[0]?.instances.map(({ workload, instance }) => [workload, instance]);
    await waitUntil(async () => (await reported())?.length === 2, { what: "the report" });
    t.same(await reported(), [
      ["default/web", "test/web-1"],
      ["default/web", "test/web-2"],
    ]);
    processes.remove("test/web-1");
    await waitUntil(() => !items().includes("link/default/web@n1/test/web-1"), { what: "its end" });
    t.equal(enforcer.problem, null);
  },
);

t.test("a failed discovery or an invalid workload leaves the last good ruleset in force", async (t) => {
  const { store, machine, enforcer, policies, discover, found, changed, items } = await setUp(t);
  discover(WEB, db("10.0.0.2"));
  await policies.syncPolicy(ALLOW_DB, { name: "web" });
  await enforcer.start();
  const state = async () => (await store.listNodeStatus())[0];
  t.match(await state(), { state: "InSync" });
  discover(WEB, db("10.0.0.300"));
  await waitUntil(async () => (await state())?.state === "Stalled", { what: "the refusal" });
  t.match((await state())?.message, /default\/db.*10\.0\.0\.300/);
  t.match(items(), /10\.0\.0\.2\/32/);

  found.error = new Error("the registry is away");
  machine.items.clear();
  changed.notify();
  await waitUntil(() => items().includes("10.0.0.2/32"), { what: "the healing, which goes on meanwhile" });
  await waitUntil(async () => (await state())?.message === "the registry is away", { what: "the word of it" });
  found.error = null;
  discover(WEB, db("10.0.0.3"));
  await waitUntil(() => enforcer.problem === null && items().includes("10.0.0.3/32"), { what: "the return" });
});

t.test("an enforcer starts and stops once, and its enforcement stays", async (t) => {
  const { machine, enforcer, policies, discover } = await setUp(t);
  discover(WEB);
  await policies.syncPolicy(ALLOW_DB, { name: "web" });
  await enforcer.start();
  await enforcer.start();
  await enforcer.stop();
  await enforcer.stop();
  t.ok(machine.items.size > 0);
});
