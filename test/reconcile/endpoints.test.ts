/** Instances: what nodes report reaches the nodes that have a rule about it, and no others; a start without the store has it. */
import fc from "fast-check";
import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { NodeEndpoints, ReportedInstance } from "../../src/model/endpoints.js";
import type { Logger } from "../../src/interfaces/system.js";
import type { ObjectSet } from "../../src/model/state.js";
import { compile } from "../../src/policy/compile/compile.js";
import { runAgent } from "../../src/reconcile/agent.js";
import { Follower } from "../../src/reconcile/follower.js";
import { NodeInventory } from "../../src/reconcile/node-inventory.js";
import { arbitraryState } from "../builders/arbitrary.js";
import { objectsOf, objectsOfDocuments, policy } from "../builders/state.js";
import { agentDeps, agentOptions } from "../fakes/agent.js";
import { recordTelemetry, silentLogger } from "../fakes/ambient.js";
import { FakeEnforcer, FakeMachine } from "../fakes/enforcer.js";
import { MemoryLastGood } from "../fakes/last-good.js";
import { draft } from "../fakes/objects.js";
import { FaultyStore } from "../fakes/store.js";
import { waitUntil } from "../wait.js";
import { volume } from "../volume.js";

const group = (name: string): string =>
  `---\napiVersion: ztap/v1\nkind: NodeGroup\nmetadata: { name: ${name}, labels: { role: ${name} } }\nspec: { nodeNames: ["${name}-*"], addressRanges: [10.0.0.0/8] }\n`;
const pattern = (name: string, role: string, process: string): string =>
  `---\napiVersion: ztap/v1\nkind: Workload\nmetadata: { name: ${name}, labels: { app: ${name} } }\nspec: { nodeSelector: { matchLabels: { role: ${role} } }, process: ${process} }\n`;
const STATE = [
  group("web"),
  group("db"),
  group("other"),
  pattern("web", "web", "{ systemdUnit: nginx.service }"),
  pattern("pg", "db", '{ container: { name: "pg-*" } }'),
  pattern("idle", "other", '{ container: { name: "idle-*" } }'),
  policy(
    "web",
    "  podSelector: { matchLabels: { app: web } }\n  egress: [{ to: { podSelector: { matchLabels: { app: pg } } } }]\n",
  ),
].join("");

const box = (workload: string, instance: string, address: string): ReportedInstance => ({
  workload: `default/${workload}`,
  instance,
  cgroup: `machine.slice/${instance}.scope`,
  addresses: [address],
  ports: [],
});
const report = (
  node: string,
  addresses: readonly string[],
  instances: readonly ReportedInstance[] = [],
): NodeEndpoints => ({
  node,
  at: "2026-01-01T00:00:00.000Z",
  os: "linux",
  addresses,
  instances,
});

function setUp(node: string) {
  const store = openMemoryStore(systemClock);
  const reached = new FaultyStore(store);
  const machine = new FakeMachine();
  const { telemetry, calls } = recordTelemetry();
  const lastGood = new MemoryLastGood();
  const deps = {
    store: reached,
    enforcer: new FakeEnforcer(machine),
    lastGood,
    managementAccess: null,
    clock: systemClock,
    logger: silentLogger,
    telemetry,
  };
  const commit = async (text: string): Promise<void> => {
    const objects = [...objectsOf(text).values()].map(({ object }) => object);
    await store.commit(draft(objects), { expectHead: await store.readHead(), fence: null });
  };
  return { store, reached, machine, deps, calls, lastGood, commit, follower: new Follower(deps, node) };
}

/** What the machine holds that mentions an address. */
const holds = (machine: FakeMachine, text: string): boolean =>
  [...machine.items].some(([key, { value }]) => `${key} ${value}`.includes(text));

t.test("an instance that starts elsewhere is a peer where a rule is about it, and wakes nobody else", async (t) => {
  const { store, follower, machine, commit, deps } = setUp("web-1");
  const other = new Follower({ ...deps, enforcer: new FakeEnforcer(new FakeMachine()) }, "other-1");
  await commit(STATE);
  await store.writeEndpoints(report("web-1", ["10.1.0.1"]));
  await follower.reconcile();
  await other.reconcile();
  t.match(await store.listNodeStatus(), [
    {
      node: "other-1",
      subjects: [{ workload: "default/idle@other-1", state: "Pending", message: /no container idle-\* was found/ }],
    },
    { node: "web-1", state: "InSync", subjects: [{ workload: "default/web@web-1", state: "Enforced" }] },
  ]);
  t.equal(holds(machine, "10.2.0.7"), false);
  t.same([await follower.isOutdated(), await other.isOutdated()], [false, false]);

  await store.writeEndpoints(report("db-1", ["10.2.0.1"], [box("pg", "pg-1", "10.2.0.7")]));
  t.same([await follower.isOutdated(), await other.isOutdated()], [true, false]);
  await follower.reconcile();
  t.equal(holds(machine, "10.2.0.7"), true);
  const applied = machine.applied;

  await store.writeEndpoints(report("other-1", ["10.3.0.1"], [box("idle", "idle-1", "10.3.0.7")]));
  t.same([await follower.isOutdated(), await other.isOutdated()], [false, true]);
  await follower.reconcile();
  t.equal(machine.applied, applied, "nothing was applied for it");

  await store.leaveMember("db-1");
  t.equal(await follower.isOutdated(), true);
  await follower.reconcile();
  t.equal(holds(machine, "10.2.0.7"), false);
});

t.test("a report beyond what Git allows a node changes nothing elsewhere, and is counted", async (t) => {
  const { store, follower, machine, commit, calls } = setUp("web-1");
  await commit(STATE);
  await store.writeEndpoints(report("db-1", [], [box("pg", "pg-1", "10.2.0.7")]));
  await follower.reconcile();
  const before = JSON.stringify([...machine.items]);
  await store.writeEndpoints(
    report("other-1", ["10.2.0.7"], [box("pg", "pg-1", "10.9.9.9"), box("web", "", "10.9.9.9")]),
  );
  await store.writeEndpoints(report("unknown", ["10.9.9.9"], [box("pg", "pg-2", "10.9.9.9")]));
  t.equal(await follower.isOutdated(), false);
  await follower.reconcile();
  t.equal(JSON.stringify([...machine.items]), before);
  t.same(calls.filter(([name]) => name === "refusedEndpoints").at(-1), ["refusedEndpoints", 3]);
});

t.test("a node that nothing describes, or with two values of one label, says so", async (t) => {
  for (const [node, text, message] of [
    ["stray", STATE, /no Node and no NodeGroup describes node stray/],
    [
      "web-1",
      STATE + group("x").replace('"x-*"', '"*"').replace("role: x", "role: db"),
      /node web-1 is refused: label role is/,
    ],
  ] as const) {
    const { store, follower, commit } = setUp(node);
    await commit(text);
    await follower.reconcile();
    t.match(await store.listNodeStatus(), [{ node, state: "Stalled", message, subjects: [] }]);
  }
});

t.test("an address that two nodes have is logged by these, once for as long as it is", async (t) => {
  const { store, commit, deps } = setUp("web-1");
  await commit(STATE);
  const nodes = ["web-1", "web-2", "other-1"].map((node) => {
    const warnings: string[] = [];
    const logger: Logger = { ...silentLogger, warn: (message) => void warnings.push(message) };
    return {
      warnings,
      follower: new Follower({ ...deps, enforcer: new FakeEnforcer(new FakeMachine()), logger }, node),
    };
  });
  const said = async (): Promise<readonly number[]> => {
    for (const { follower } of nodes) await follower.reconcile();
    return nodes.map(({ warnings }) => warnings.filter((text) => text.includes("belongs to nodes")).length);
  };
  await store.writeEndpoints(report("web-1", ["10.1.0.1"]));
  await store.writeEndpoints(report("web-2", ["10.1.0.2"]));
  t.same(await said(), [0, 0, 0]);
  await store.writeEndpoints(report("web-2", ["10.1.0.1", "10.1.0.2"]));
  t.same(await said(), [1, 1, 0]);
  t.match(nodes[0]?.warnings, [/^address 10\.1\.0\.1 belongs to nodes web-1, web-2: policy cannot tell them apart$/]);
  await store.writeEndpoints(report("other-1", ["10.3.0.1"], [box("idle", "idle-1", "10.3.0.7")]));
  t.same(await said(), [1, 1, 0], "another change is no reason to say it again");
  await store.writeEndpoints(report("web-2", ["10.1.0.2"]));
  t.same(await said(), [1, 1, 0]);
  await store.writeEndpoints(report("web-2", ["10.1.0.1"]));
  t.same(await said(), [2, 2, 0]);
});

t.test("a start without the store enforces the instances that were known", async (t) => {
  const { store, reached, follower, commit, deps, lastGood } = setUp("web-1");
  await commit(STATE);
  await store.writeEndpoints(report("db-1", [], [box("pg", "pg-1", "10.2.0.7")]));
  await store.writeEndpoints(report("other-1", [], [box("idle", "idle-1", "10.3.0.7")]));
  await follower.reconcile();
  t.same(
    lastGood.endpoints.map(({ node }) => node),
    ["db-1"],
    "only what concerns the node is kept",
  );
  reached.cutOff();
  const rebooted = new FakeMachine();
  const next = new Follower({ ...deps, enforcer: new FakeEnforcer(rebooted) }, "web-1");
  await next.loadLastGood();
  t.equal(holds(rebooted, "10.2.0.7"), true);
});

const NODES = ["n0", "n1", "n2"];
/** Each workload runs on one node. */
const nodeOf = (workload: string): string => NODES[Number(workload.at(-1)) % NODES.length] ?? "";

/** A random state whose workloads are containers. */
function discovered(documents: readonly object[]): ObjectSet {
  const changed = documents.map((document) => {
    const name = /"kind":"Workload","metadata":{"name":"(w\d)"/.exec(JSON.stringify(document))?.[1];
    if (name === undefined || !("spec" in document)) return document;
    const spec = {
      ...Object(document.spec),
      addresses: [],
      node: nodeOf(name),
      process: { container: { name: "*" } },
      cgroup: undefined,
    };
    return { ...document, spec };
  });
  const all = {
    apiVersion: "ztap/v1",
    kind: "NodeGroup",
    metadata: { name: "all" },
    spec: { nodeNames: ["*"], addressRanges: ["10.0.0.0/8"] },
  };
  return objectsOfDocuments([all, ...changed]);
}

t.test("where the instances that concern a node are the same, so is its ruleset", async (t) => {
  const names = ["w0", "w1", "w2", "w3", "w4"].flatMap((name) => [`default/${name}`, `prod/${name}`]);
  // Few addresses, so that workloads share them.
  const one = fc.record({
    workload: fc.constantFrom(...names),
    last: fc.integer({ min: 1, max: 6 }),
    port: fc.constantFrom(80, 81),
  });
  const [some, more] = [fc.array(one, { maxLength: 8 }), fc.array(one, { minLength: 1, maxLength: 2 })];
  const toReports = (found: readonly { workload: string; last: number; port: number }[]): readonly NodeEndpoints[] =>
    NODES.map((node) => {
      const own = found.filter(({ workload }) => nodeOf(workload) === node);
      const boxes = own.map(({ workload, last, port }, index) => ({
        ...box("", `c${last}-${index}`, `10.9.0.${last}`),
        workload,
        ports: [{ protocol: "TCP" as const, port }],
      }));
      return report(node, [], boxes);
    });
  let unconcerned = 0;
  fc.assert(
    fc.property(arbitraryState, some, more, (documents, before, added) => {
      const after = [...before, ...added];
      const objects = discovered(documents);
      for (const node of NODES) {
        const inventory = new NodeInventory(objects, node);
        const [old, now] = [inventory.place(toReports(before)), inventory.place(toReports(after))];
        if (old.key !== now.key) continue;
        if (compile(old.objects, node).digest !== compile(now.objects, node).digest) return false;
        unconcerned += 1;
      }
      return true;
    }),
    { numRuns: volume(300, 5000) },
  );
  t.ok(unconcerned > 0, "some changes concerned a node not at all");
});

t.test("a port name without peers concerns every workload that has the name", async (t) => {
  const ports = "{ systemdUnit: nginx.service }";
  const named = (egress: string): string =>
    [
      group("web"),
      group("db"),
      pattern("web", "web", ports),
      pattern("pg", "db", '{ container: { name: "pg-*" } }').replace(
        / \}\n$/,
        ", ports: [{ name: sql, port: 5432 }] }\n",
      ),
      policy("web", `  podSelector: { matchLabels: { app: web } }\n  egress: [${egress}]\n`),
    ].join("");
  const keys = (egress: string): readonly boolean[] => {
    const inventory = new NodeInventory(objectsOf(named(egress)), "web-1");
    const before = inventory.place([]);
    const after = inventory.place([report("db-1", [], [box("pg", "pg-1", "10.2.0.7")])]);
    return [
      before.key === after.key,
      compile(before.objects, "web-1").digest === compile(after.objects, "web-1").digest,
    ];
  };
  t.same(keys("{ ports: [{ port: sql }] }"), [false, false]);
  t.same(keys("{ ports: [{ port: 5432 }] }"), [true, true]);
});

t.test("an agent that sleeps is woken by what concerns its node, and enforces it", async (t) => {
  const { store, machine, commit } = setUp("web-1");
  await commit(STATE);
  const enforcer = new FakeEnforcer(machine);
  const stop = new AbortController();
  const running = runAgent(
    agentDeps(store, { enforcer }),
    agentOptions({ node: "web-1", checkInterval: "60s", heartbeatInterval: "50ms", sessionTtl: "60s" }),
    stop.signal,
  );
  t.teardown(() => stop.abort());
  await waitUntil(() => Promise.resolve(machine.applied), { is: (applied) => applied > 0, what: "the first apply" });
  await store.writeEndpoints(report("db-1", [], [box("pg", "pg-1", "10.2.0.7")]));
  await waitUntil(() => Promise.resolve(holds(machine, "10.2.0.7")), { is: (held) => held, what: "the new peer" });
  stop.abort();
  await running;
  t.pass();
});
