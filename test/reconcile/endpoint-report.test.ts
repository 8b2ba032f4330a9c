/** The report of a node: what its agent finds is written, and enforced by itself at once. */
import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { WantedProcesses } from "../../src/interfaces/discovery.js";
import { MOST_INSTANCES } from "../../src/model/endpoints.js";
import { reconcileOnce, runAgent } from "../../src/reconcile/agent.js";
import { EndpointReporter } from "../../src/reconcile/endpoint-report.js";
import { objectsOf, policy } from "../builders/state.js";
import { agentDeps, agentOptions } from "../fakes/agent.js";
import { recordTelemetry, silentLogger } from "../fakes/ambient.js";
import { FakeDiscovery } from "../fakes/discovery.js";
import { FakeEnforcer, FakeMachine } from "../fakes/enforcer.js";
import { draft } from "../fakes/objects.js";
import { FaultyStore } from "../fakes/store.js";
import { waitUntil } from "../wait.js";

const STATE = [
  `---\napiVersion: ztap/v1\nkind: NodeGroup\nmetadata: { name: all }\nspec: { nodeNames: ["*"], addressRanges: [10.0.0.0/8] }\n`,
  `---\napiVersion: ztap/v1\nkind: Workload\nmetadata: { name: web, labels: { app: web } }\nspec: { nodeSelector: {}, process: { systemdUnit: "worker@*.service" } }\n`,
  policy("web", "  podSelector: { matchLabels: { app: web } }\n"),
].join("");
const CGROUP = "system.slice/system-worker.slice/worker@1.service";

async function setUp() {
  const store = openMemoryStore(systemClock);
  const objects = [...objectsOf(STATE).values()].map(({ object }) => object);
  await store.commit(draft(objects), { expectHead: null, fence: null });
  const discovery = new FakeDiscovery();
  discovery.addresses = ["10.0.0.1"];
  const machine = new FakeMachine();
  return { store, discovery, machine, enforcer: new FakeEnforcer(machine) };
}

const wanted: readonly WantedProcesses[] = [
  { workload: "shop/many", pattern: { cgroup: "a/*" } },
  { workload: "shop/one", pattern: { systemdUnit: "*.service" } },
];

function reporterOf(discovery: FakeDiscovery) {
  const store = openMemoryStore(systemClock);
  const reached = new FaultyStore(store);
  const { telemetry, calls } = recordTelemetry();
  const deps = {
    discovery,
    store: reached,
    clock: systemClock,
    logger: silentLogger,
    telemetry,
    enforcer: { newborns: null },
  };
  return { store, reached, calls, reporter: new EndpointReporter(deps, "n1", () => wanted) };
}

t.test("an agent that sleeps reports a unit that starts, and enforces it; and one that ends", async (t) => {
  const { store, discovery, machine, enforcer } = await setUp();
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const options = agentOptions({ node: "n1", checkInterval: "1h", heartbeatInterval: "50ms", sessionTtl: "60s" });
  const running = runAgent(agentDeps(store, { enforcer, discovery }), options, stop.signal);
  await waitUntil(() => store.listEndpoints(), { is: ([own]) => own !== undefined, what: "the first report" });
  t.match(await store.listEndpoints(), [{ node: "n1", os: "linux", addresses: ["10.0.0.1"], instances: [] }]);
  discovery.create(CGROUP);
  const holds = () => Promise.resolve(JSON.stringify([...machine.items]).includes("worker@1.service"));
  await waitUntil(holds, { what: "its enforcement" });
  await waitUntil(() => store.listEndpoints(), { is: ([own]) => own?.instances.length === 1, what: "its report" });
  discovery.remove(CGROUP);
  await waitUntil(() => store.listEndpoints(), {
    is: ([own]) => own?.instances.length === 0,
    what: "the report of its end",
  });
  await waitUntil(holds, { is: (held) => !held, what: "the end of its enforcement" });
  stop.abort();
  await running;
});

t.test("a single run reports and enforces what runs", async (t) => {
  const { store, discovery, machine, enforcer } = await setUp();
  discovery.create(CGROUP);
  await reconcileOnce(agentDeps(store, { enforcer, discovery }), agentOptions({ node: "n1" }));
  t.match(await store.listEndpoints(), [{ instances: [{ workload: "default/web", cgroup: CGROUP }] }]);
  t.match(JSON.stringify([...machine.items]), "worker@1.service");
});

t.test("without the store a node knows all the same what it found, and writes it later, once", async (t) => {
  const discovery = new FakeDiscovery();
  const { store, reached, reporter } = reporterOf(discovery);
  discovery.create("system.slice/a.service");
  reached.cutOff();
  let found = 0;
  await t.rejects(reporter.run(() => (found += 1)));
  t.match(reporter.own, { instances: [{ instance: "a.service" }] });
  t.equal(found, 1);
  reached.mend();
  await reporter.run();
  const [first] = await store.listEndpoints();
  await reporter.run();
  t.same(await store.listEndpoints(), [first], "an unchanged record is not written again");
});

t.test("a record that another one wrote or removed is written again", async (t) => {
  const discovery = new FakeDiscovery();
  const { store, reporter } = reporterOf(discovery);
  await reporter.run();
  await store.leaveMember("n1");
  await reporter.run();
  t.match(await store.listEndpoints(), [{ node: "n1" }]);
});

t.test(
  "what a record cannot hold is left out and told; a workload that multiplies takes no room from others",
  async (t) => {
    const discovery = new FakeDiscovery();
    const { store, reporter, calls } = reporterOf(discovery);
    for (let index = 0; index < MOST_INSTANCES + 50; index += 1) discovery.create(`a/x${index}`);
    discovery.create("system.slice/good.service");
    discovery.create("system.slice/b\u0007d.service");
    discovery.problems = ["the runtime does not answer"];
    await reporter.run();
    const [record] = await store.listEndpoints();
    t.equal(record?.instances.length, MOST_INSTANCES);
    t.same(
      record?.instances.filter(({ workload }) => workload === "shop/one").map(({ instance }) => instance),
      ["good.service"],
    );
    t.same(calls.filter(([name]) => name === "discoveryProblems").at(-1), ["discoveryProblems", 3]);
  },
);
