/**
 * Hostile reports: a node that reports addresses outside its ranges, workloads of other nodes, or ten thousand instances changes
 * nothing for any other node. All loops of all agents run, on one store.
 */
import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { MOST_INSTANCES, type NodeEndpoints, type ReportedInstance } from "../../src/model/endpoints.js";
import { readClusterStatus } from "../../src/operations/cluster/membership.js";
import { listWorkloads } from "../../src/operations/workload/list.js";
import { runAgent } from "../../src/reconcile/agent.js";
import { objectsOf, policy } from "../builders/state.js";
import { agentDeps, agentOptions } from "../fakes/agent.js";
import { recordTelemetry } from "../fakes/ambient.js";
import { FakeDiscovery } from "../fakes/discovery.js";
import { FakeEnforcer, FakeMachine } from "../fakes/enforcer.js";
import { draft } from "../fakes/objects.js";
import { waitUntil } from "../wait.js";

const HOSTILE = "bad-1";
const ROLES = ["web", "db", "bad"] as const;
const rangeOf = (role: string): string => `10.${ROLES.findIndex((one) => one === role) + 1}.0.0/16`;
const NODES = ["web-1", "web-2", "db-1", "db-2"].map((name, at) => ({
  name,
  // No two of them make one prefix.
  address: `10.${at < 2 ? 1 : 2}.0.${2 * at + 1}`,
}));
const selects = (app: string): string => `podSelector: { matchLabels: { app: ${app} } }`;
/** Everybody has a rule about everybody: whatever counted would show. */
const STATE = ROLES.map(
  (role) =>
    `---\napiVersion: ztap/v1\nkind: NodeGroup\nmetadata: { name: ${role}, labels: { role: ${role} } }\nspec: { nodeNames: ["${role}-*"], addressRanges: [${rangeOf(role)}] }\n` +
    `---\napiVersion: ztap/v1\nkind: Workload\nmetadata: { name: ${role}, labels: { app: ${role} } }\nspec: { nodeSelector: { matchLabels: { role: ${role} } }, process: { systemdUnit: "${role}@*.service" } }\n` +
    policy(
      role,
      `  ${selects(role)}\n  ingress: [{ from: [${ROLES.map((one) => `{ ${selects(one)} }`).join(", ")}] }]\n  egress: [{ to: [${ROLES.map((one) => `{ ${selects(one)} }`).join(", ")}] }]\n`,
    ),
).join("");

const instance = (role: string, at: number | string, addresses: readonly string[] = []): ReportedInstance => ({
  workload: `default/${role}`,
  instance: `${role}@${at}.service`,
  cgroup: `system.slice/system-${role}.slice/${role}@${at}.service`,
  addresses,
  ports: [],
});

/** What the hostile node has of its own: it counts. */
const HONEST = { addresses: ["10.3.0.1"], instances: [instance("bad", 1)] };
const FAR = ["192.0.2.1", "10.1.0.1", "10.2.0.5", "127.0.0.1", "0.0.0.0", "fe80::1", "::ffff:10.1.0.1", "2001:db8::1"];
const CLAIMS = [
  instance("web", 7),
  instance("db", 7, ["10.3.0.9"]),
  { ...instance("bad", 1), workload: "default/unknown" },
  { ...instance("bad", 3), cgroup: "system.slice/web.service" },
  { ...instance("bad", 4), cgroup: "../web@1.service" },
];
interface Attack extends Pick<NodeEndpoints, "addresses" | "instances"> {
  readonly refused: readonly (readonly [what: string, why: RegExp])[];
}

const attacks: Readonly<Record<string, Attack>> = {
  "addresses outside its ranges": {
    addresses: [...HONEST.addresses, ...FAR],
    instances: [...HONEST.instances, instance("bad", 2, [...FAR, "10.3.0.1"])],
    refused: [
      ["address 192.0.2.1", /outside the addressRanges/],
      ["address 10.1.0.1", /outside the addressRanges/],
      ["address 127.0.0.1", /identifies no host/],
      [`default/bad@${HOSTILE}/bad@2.service: address 10.2.0.5`, /outside the addressRanges/],
    ],
  },
  "workloads of other nodes": {
    addresses: HONEST.addresses,
    instances: [...HONEST.instances, ...CLAIMS],
    refused: [
      ["instance default/web/web@7.service", /does not run on this node/],
      ["instance default/db/db@7.service", /does not run on this node/],
      ["instance default/unknown/bad@1.service", /no such workload/],
      ["instance default/bad/bad@3.service", /is not the cgroup of a unit/],
      ["instance default/bad/bad@4.service", /no path below the cgroup root/],
    ],
  },
  "as many workloads of other nodes as a record holds": {
    addresses: HONEST.addresses,
    instances: [
      ...HONEST.instances,
      ...Array.from({ length: MOST_INSTANCES - 1 }, (_, at) => instance("web", at, [`10.1.${at >> 8}.${at & 255}`])),
    ],
    refused: [
      ["instance default/web/web@0.service", /does not run on this node/],
      [`${MOST_INSTANCES - 100} more`, /not listed/],
    ],
  },
};

async function setUp(teardown: (end: () => Promise<void>) => void) {
  const store = openMemoryStore(systemClock);
  const objects = [...objectsOf(STATE).values()].map(({ object }) => object);
  await store.commit(draft(objects), { expectHead: null, fence: null });
  const report = (parts: Pick<NodeEndpoints, "addresses" | "instances">): Promise<void> =>
    store.writeEndpoints({ node: HOSTILE, at: new Date(systemClock.now()).toISOString(), os: "linux", ...parts });
  await store.joinMember({ id: HOSTILE, address: `${HOSTILE}:1`, joinedAt: new Date(systemClock.now()).toISOString() });
  await report(HONEST);
  const stop = new AbortController();
  const agents = NODES.map(({ name, address }) => {
    const discovery = new FakeDiscovery();
    discovery.addresses = [address];
    const role = name.slice(0, -2);
    for (const at of [1, 2]) discovery.create(instance(role, at).cgroup);
    const machine = new FakeMachine();
    const { telemetry, calls } = recordTelemetry();
    const deps = agentDeps(store, { enforcer: new FakeEnforcer(machine), discovery, telemetry });
    const options = agentOptions(
      { node: name, address: `${name}:1`, checkInterval: "100ms", heartbeatInterval: "1s", sessionTtl: "60s" },
      { holder: name },
    );
    return {
      name,
      machine,
      refusals: () => calls.findLast(([call]) => call === "refusedEndpoints")?.[1],
      running: runAgent(deps, options, stop.signal),
    };
  });
  teardown(async () => {
    stop.abort();
    await Promise.all(agents.map(({ running }) => running));
  });
  const others = [...NODES.map(({ address }) => address), ...HONEST.addresses];
  const inForce = (): readonly string[] => agents.map(({ machine }) => JSON.stringify([...machine.items].sort()));
  await waitUntil(inForce, {
    is: (all) => all.every((text) => others.every((address) => text.includes(`${address}/32`))),
    what: "every address at every node",
  });
  /** Waits until each agent has counted so many refusals. */
  const counted = (count: number): Promise<unknown> =>
    waitUntil(() => agents.map(({ refusals }) => refusals()), {
      is: (all) => all.every((one) => one === count),
      what: `${count} refusals at every node`,
    });
  await counted(0);
  const applied = (): readonly number[] => agents.map(({ machine }) => machine.applied);
  return { store, report, inForce, applied, counted };
}

for (const [name, { refused, ...reported }] of Object.entries(attacks))
  t.test(`a node that reports ${name} changes nothing for others; it is counted, and named`, async (t) => {
    const { store, report, inForce, applied, counted } = await setUp((end) => t.teardown(end));
    const before = [inForce(), applied()];
    await report(reported);
    const { refused: listed, refusedCount } = await listWorkloads({ store, clock: systemClock });
    t.ok(refusedCount >= refused.length);
    t.same(
      listed.filter(({ node }) => node !== HOSTILE),
      [],
    );
    for (const [what, why] of refused) t.match(listed.find((one) => one.what === what)?.why, why, what);
    await counted(refusedCount);
    t.same([inForce(), applied()], before);
    await report(HONEST);
    await counted(0);
    t.same([inForce(), applied()], before);
  });

t.test("a record of ten thousand instances does not count, and is named as damaged", async (t) => {
  const { store, report, inForce } = await setUp((end) => t.teardown(end));
  const before = inForce();
  const many = Array.from({ length: 10_000 }, (_, at) => instance("bad", at, [`10.3.${at >> 8}.${at & 255}`]));
  await report({ ...HONEST, instances: many });
  const without = (): readonly string[] => inForce().map((text) => String(text.includes("10.3.0.1/32")));
  await waitUntil(without, {
    is: (all) => all.every((one) => one === "false"),
    what: "the end of what the node had reported before",
  });
  for (const text of inForce()) t.notMatch(text, /10\.3\.\d/, "none of its instances is anybody's peer");
  const { nodes } = await readClusterStatus({ store, clock: systemClock });
  t.match(
    nodes.filter(({ message }) => /endpoints/.test(message ?? "")),
    [{ id: HOSTILE }],
  );
  await report(HONEST);
  await waitUntil(inForce, { is: (all) => JSON.stringify(all) === JSON.stringify(before), what: "its return" });
});
