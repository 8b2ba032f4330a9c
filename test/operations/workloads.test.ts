/** `workload list`, `workload show`, and the instances of a plan: declared, found, enforced. */
import { readFileSync } from "node:fs";
import { Ajv2020 } from "ajv/dist/2020.js";
import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import type { NodeEndpoints } from "../../src/model/endpoints.js";
import type { SubjectStatus } from "../../src/model/status.js";
import { planChanges } from "../../src/plan/plan.js";
import { listSubjects } from "../../src/operations/policy/subjects.js";
import { listWorkloads, reportWorkload } from "../../src/operations/workload/list.js";
import { readPlannedInstances } from "../../src/operations/workload/planned.js";
import { readClusterStatus } from "../../src/operations/cluster/membership.js";
import { renderListing } from "../../src/views/listing.js";
import { plainStyle } from "../../src/views/style.js";
import {
  describePlanned,
  renderWorkloadReport,
  workloadListDocument,
  workloadListing,
  workloadReportDocument,
} from "../../src/views/workloads.js";
import { objectsOf, policy, TEST_SOURCE } from "../builders/state.js";
import { STATUS } from "../contract/store-cluster.js";
import { ManualClock } from "../fakes/clock.js";
import { draft } from "../fakes/objects.js";

const STATE = `apiVersion: ztap/v1
kind: NodeGroup
metadata: { name: web, labels: { role: web } }
spec: { nodeNames: ["web-*"], addressRanges: [10.20.0.0/16] }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: web, namespace: shop, labels: { app: web } }
spec: { nodeSelector: { matchLabels: { role: web } }, process: { systemdUnit: nginx.service }, ports: [{ name: http, port: 80 }] }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: worker, namespace: shop, labels: { app: worker } }
spec: { nodeSelector: { matchLabels: { role: web } }, process: { systemdUnit: "worker@*.service" } }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: old, namespace: shop }
spec: { node: web-1, cgroup: old.slice, addresses: [10.20.0.9] }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: outside, namespace: shop }
spec: { addresses: [192.0.2.1] }
`;
const AT = "2026-01-01T00:00:00.000Z";

async function setUp() {
  const clock = new ManualClock(Date.parse(AT) + 90_000);
  const store = openMemoryStore(clock);
  const objects = objectsOf(STATE + policy("all", "  podSelector: {}\n  ingress: []\n", { namespace: "shop" }));
  await store.commit(draft([...objects.values()].map(({ object }) => object)), { expectHead: null, fence: null });
  const report = (
    node: string,
    instances: NodeEndpoints["instances"],
    addresses: readonly string[],
  ): NodeEndpoints => ({
    ...{ node, at: AT, os: "linux", addresses, instances },
  });
  const unit = (name: string) => ({
    ...{ workload: "shop/worker", instance: name, cgroup: `system.slice/${name}`, addresses: [], ports: [] },
  });
  const nginx = { workload: "shop/web", instance: "", cgroup: "system.slice/nginx.service", addresses: [], ports: [] };
  await store.writeEndpoints(
    report("web-1", [nginx, unit("worker@1.service"), unit("worker@2.service")], ["10.20.0.1"]),
  );
  await store.writeEndpoints(report("web-2", [], ["10.20.0.1", "10.20.0.2", "172.16.0.1"]));
  const status = async (node: string, subjects: readonly SubjectStatus[]): Promise<void> =>
    store.writeNodeStatus({ ...STATUS, node, drift: [], subjects, observedAt: AT });
  await status("web-1", [
    { workload: "shop/web@web-1", state: "Enforced" },
    { workload: "shop/worker@web-1/worker@1.service", state: "Enforced" },
    { workload: "shop/worker@web-1/worker@2.service", state: "Stalled", message: "no room" },
    { workload: "shop/old", state: "Pending", message: "its cgroup does not exist yet" },
  ]);
  await status("web-2", [{ workload: "shop/web@web-2", state: "Pending", message: "its cgroup does not exist yet" }]);
  return { store, clock, objects };
}

const ajv = new Ajv2020({ strict: true });
const validate = (name: string, document: object): string | null => {
  const schema: unknown = JSON.parse(
    readFileSync(new URL(`../../../schemas/output/${name}.schema.json`, import.meta.url), "utf8"),
  );
  const check = ajv.compile(Object(schema));
  return check(JSON.parse(JSON.stringify(document))) ? null : ajv.errorsText(check.errors);
};

t.test("a list of what is declared, found and enforced", async (t) => {
  const deps = await setUp();
  const list = await listWorkloads(deps);
  t.equal(validate("workload-list", workloadListDocument(list)), null);
  t.equal(
    renderListing(workloadListing(list, plainStyle, false), plainStyle),
    [
      "Namespace  Name     Nodes         Pattern                Found  Enforced  Age",
      "shop       old      web-1         cgroup old.slice       0      0         90 s",
      "shop       outside  external      -                      -      -         -",
      "shop       web      web-1, web-2  unit nginx.service     1      1         90 s",
      "shop       worker   web-1, web-2  unit worker@*.service  2      1 of 2    90 s",
      "",
      "1 report does not count:",
      "  node web-2: address 172.16.0.1: it lies outside the addressRanges of the node's groups",
      "",
      "1 address belongs to more than one node, and policy cannot tell these apart:",
      "  10.20.0.1: web-1, web-2",
    ].join("\n"),
  );
  t.same(await listWorkloads({ ...deps, store: openMemoryStore(deps.clock) }), {
    ...{ revision: null, workloads: [], refused: [], refusedCount: 0 },
    ...{ sharedAddresses: [], sharedAddressCount: 0 },
  });
});

t.test("a workload with its instances, and the nodes on which none was found", async (t) => {
  const deps = await setUp();
  const report = await reportWorkload(deps, "shop/worker");
  t.equal(validate("workload-show", workloadReportDocument(report)), null);
  t.match(report.instances, [
    { name: "shop/worker@web-1/worker@1.service", state: "Enforced", addresses: ["10.20.0.1"] },
    { name: "shop/worker@web-1/worker@2.service", state: "Stalled", message: "no room" },
    { name: "shop/worker@web-2", state: "Pending", message: "nothing that matches was found on the node" },
  ]);
  const text = renderWorkloadReport(report, plainStyle);
  t.match(
    text,
    /^Workload {2}shop\/worker {2}policies.yaml:\d+\nLabels {4}app=worker\nProcesses unit worker@\*\.service\n/,
  );
  t.match(text, /\nNodes {5}web-1, web-2 {2}by role=web\n/);
  t.match(text, /\nshop\/worker@web-1\/worker@2.service: no room\n/);
  t.match(await reportWorkload(deps, "shop/web@web-1"), { name: "web", ports: [{ name: "http" }] });
  t.match(await reportWorkload(deps, "shop/outside"), { kind: "external", instances: [], nodes: [] });
  await t.rejects(reportWorkload(deps, "shop/wbe"), { code: "not-found", message: /did you mean shop\/web\?/ });
});

t.test("a plan names the instances of the patterns that it touches, and how old that is", async (t) => {
  const { store, clock, objects } = await setUp();
  const plan = planChanges({ source: TEST_SOURCE, objects }, null);
  const planned = await readPlannedInstances({ store, clock }, plan, objects);
  t.same(describePlanned(planned), [
    "shop/web (unit nginx.service): 1: shop/web@web-1, as of 90 s ago",
    "shop/worker (unit worker@*.service): 2: shop/worker@web-1/worker@1.service, shop/worker@web-1/worker@2.service, as of 90 s ago",
  ]);
  const head = await store.readState(1);
  t.same(
    await readPlannedInstances({ store, clock }, planChanges({ source: TEST_SOURCE, objects }, head), objects),
    [],
  );
});

t.test("the subjects of a policy are the instances, found and missing", async (t) => {
  const { store, clock, objects } = await setUp();
  const found = objects.get("NetworkPolicy/shop/all")?.object;
  if (found?.kind !== "NetworkPolicy") throw new Error("no policy");
  t.same(listSubjects(found, objects, await store.listEndpoints()), [
    { workload: "shop/old", node: "web-1" },
    { workload: "shop/outside", node: null },
    { workload: "shop/web@web-1", node: "web-1" },
    { workload: "shop/web@web-2", node: "web-2" },
    { workload: "shop/worker@web-1/worker@1.service", node: "web-1" },
    { workload: "shop/worker@web-1/worker@2.service", node: "web-1" },
    { workload: "shop/worker@web-2", node: "web-2" },
  ]);
  t.match(
    listSubjects(found, objects, []).map(({ workload, node }) => `${workload} ${node}`),
    ["shop/old web-1", "shop/outside null", "shop/web null", "shop/worker null"],
  );
  const { nodes } = await readClusterStatus({ store, clock });
  t.match(
    nodes,
    [
      { id: "web-1", declared: true },
      { id: "web-2", declared: true },
    ],
    "a group declares them",
  );
});
