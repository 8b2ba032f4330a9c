import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import type { NodeStatus } from "../../src/model/status.js";
import type { GitReading, ReportDeps } from "../../src/operations/policy/report.js";
import { listPolicies, reportPolicy } from "../../src/operations/policy/report.js";
import { objectsOf, policy, TEST_SOURCE, workload } from "../builders/state.js";
import { policyListing, renderPolicyReport } from "../../src/views/policies.js";
import { renderListing } from "../../src/views/listing.js";
import { plainStyle } from "../../src/views/style.js";
import { ManualClock } from "../fakes/clock.js";
import { draft } from "../fakes/objects.js";

const NAMES = ["ahead", "dead", "drifted", "insync", "never", "pending", "stalled"] as const;
const STATE =
  NAMES.map((node, index) => workload(`${node}@${node} 10.0.0.${index + 1} app=web`)).join("") +
  workload("db@elsewhere 10.0.1.1 app=db") +
  workload("peer 10.0.2.1 app=web") +
  policy("web", "  podSelector: { matchLabels: { app: web } }\n  ingress: []");

const status = (node: string, changes: Partial<NodeStatus> = {}): NodeStatus => ({
  node,
  backend: "ebpf",
  attemptedRevision: 2,
  enforcedRevision: 2,
  rulesetDigest: null,
  state: "InSync",
  message: null,
  drift: [],
  healed: 0,
  subjects: [{ workload: `default/${node}`, state: "Enforced" }],
  observedAt: "2026-01-01T00:00:00.000Z",
  ...changes,
});

async function setUp() {
  const clock = new ManualClock();
  const store = openMemoryStore(clock);
  const objects = objectsOf(STATE);
  for (const expectHead of [null, 1]) {
    const commit = { ...draft([]), objects: expectHead === null ? [] : [...objects.values()], source: TEST_SOURCE };
    await store.commit(commit, { expectHead, fence: null });
  }
  const report = (git: GitReading = { objects: null, why: "no source" }) => {
    const deps: ReportDeps = { store, clock, openLocal: async () => null, readGit: async () => git };
    return reportPolicy(deps, { namespace: "default", name: "web" });
  };
  return { clock, store, objects, report };
}

t.test("list and report show audit mode: of the policy, its Namespace or the Cluster", async (t) => {
  const store = openMemoryStore(new ManualClock());
  const modes = (kind: string, name: string) =>
    `---\napiVersion: ztap/v1\nkind: ${kind}\nmetadata: { name: ${name} }\nspec: { mode: audit }\n`;
  const commit = async (text: string) => {
    const head = await store.readHead();
    const objects = [...objectsOf(text).values()];
    await store.commit({ ...draft([]), objects, source: TEST_SOURCE }, { expectHead: head, fence: null });
    return listPolicies(store);
  };
  const both = "  podSelector: {}\n  ingress: []\n  egress: []\n";
  const one = policy("a", `${both}  mode: enforce`) + policy("b", `${both}  mode: { ingress: audit }`);
  const enforced = await commit(policy("a", both));
  t.match(enforced, [{ mode: { ingress: "enforce", egress: "enforce" } }]);
  t.notMatch(
    renderListing(policyListing(enforced, plainStyle), plainStyle),
    /Mode|enforce/,
    "where none audits there is no column",
  );
  const mixed = await commit(one);
  t.match(mixed, [
    { mode: { ingress: "enforce", egress: "enforce" } },
    { mode: { ingress: "audit", egress: "enforce" } },
  ]);
  t.match(renderListing(policyListing(mixed, plainStyle), plainStyle), /Mode\n.*enforce\n.*audit ingress$/);
  for (const above of [modes("Namespace", "default"), modes("Cluster", "cluster")])
    t.match(await commit(policy("c", "  podSelector: {}\n  ingress: []") + above), [
      { mode: { ingress: "audit", egress: null } },
    ]);
  const deps = { store, clock: new ManualClock(), openLocal: async () => null };
  const readGit = async () => ({ objects: null, why: "no source" });
  const report = await reportPolicy({ ...deps, readGit }, { namespace: "default", name: "c" });
  t.match(report, { mode: { ingress: "audit", egress: null } });
  t.match(renderPolicyReport(report, plainStyle), /^Mode +audit: reported, but not denied$/m);
});

t.test("every node with a subject is reported with its own state, and no other node", async (t) => {
  const { store, clock, report } = await setUp();
  await store.heartbeat({ id: "dead", address: "dead:1", holder: "h-dead" }, 1000);
  clock.advance(1000);
  for (const id of NAMES)
    if (id !== "dead" && id !== "never") await store.heartbeat({ id, address: `${id}:1`, holder: `h-${id}` }, 1000);
  const drift = [
    { kind: "missing", detail: "entry 7", workload: "default/drifted", policies: ["default/web"] },
    { kind: "missing", detail: "another policy's", workload: "default/drifted", policies: ["default/other"] },
  ] as const;
  for (const one of [
    status("ahead", { enforcedRevision: 1 }),
    status("dead"),
    status("drifted", { state: "Drifted", drift }),
    status("insync"),
    status("pending", { subjects: [{ workload: "default/pending", state: "Pending", message: "no cgroup yet" }] }),
    status("stalled", { state: "Stalled", message: "the store is damaged", subjects: [] }),
    status("elsewhere", { state: "Drifted" }),
  ])
    await store.writeNodeStatus(one);
  const { nodes, drift: isDrift, subjects } = await report();
  t.same(
    nodes.map(({ node, state, enforcedRevision }) => [node, state, enforcedRevision]),
    [
      ["ahead", "Pending", 1],
      ["dead", "Unknown", 2],
      ["drifted", "Drifted", 2],
      ["insync", "InSync", 2],
      ["never", "Unknown", null],
      ["pending", "Pending", 2],
      ["stalled", "Stalled", 2],
    ],
  );
  t.equal(isDrift, true);
  t.equal(subjects.length, NAMES.length + 1, "the peer without a node too");
  t.match(nodes[1]?.message, /not running, or cannot reach the store; it last reported at/);
  t.match(nodes[2]?.drift, [{ detail: "entry 7" }]);
  t.equal(nodes[2]?.drift.length, 1, "what concerns this policy alone");
  t.match(nodes[4]?.message, /ever reported/);
  t.match(nodes[5]?.message, /no cgroup yet/);
  t.match(nodes[6]?.message, /damaged/);
});

t.test("if all is in sync there is no drift; if Git differs there is", async (t) => {
  const { store, objects, report } = await setUp();
  for (const id of NAMES) {
    await store.heartbeat({ id, address: `${id}:1`, holder: `h-${id}` }, 1000);
    await store.writeNodeStatus(status(id));
  }
  t.match(await report({ objects }), { git: { state: "Synced" }, drift: false });
  t.match(await report(), { git: { state: "Unknown", message: "no source" }, drift: false });
  const other = objectsOf(STATE.replace("ingress: []", "egress: []"));
  t.match(await report({ objects: other }), { git: { state: "OutOfSync" }, drift: true });
  t.match(await report({ objects: new Map() }), { git: { state: "OutOfSync" }, drift: true });
});
