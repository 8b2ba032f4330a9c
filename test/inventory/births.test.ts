/** What newborn cgroups get that patterns match: of whom, on which node, and that nobody's policy opens to them. */
import t from "tap";
import { placeReported } from "../../src/inventory/place.js";
import type { NodeEndpoints } from "../../src/model/endpoints.js";
import { compile } from "../../src/policy/compile/compile.js";
import { lower } from "../../src/adapters/ebpf/lower/lower.js";
import { objectsOf, policy } from "../builders/state.js";

const workload = (name: string, spec: string): string =>
  `---\napiVersion: ztap/v1\nkind: Workload\nmetadata: { name: ${name}, labels: { app: ${name} } }\nspec: ${spec}\n`;
const STATE = [
  `apiVersion: ztap/v1\nkind: NodeGroup\nmetadata: { name: all, labels: { role: web } }\nspec: { nodeNames: ["n*"], addressRanges: [10.0.0.0/8] }\n`,
  workload("worker", '{ nodeSelector: { matchLabels: { role: web } }, process: { systemdUnit: "worker@*.service" } }'),
  workload("exact", "{ node: n1, process: { systemdUnit: web.service } }"),
  workload("job", '{ node: n1, process: { cgroup: "jobs/*" }, addresses: [10.9.9.9] }'),
  workload("box", "{ node: n2, process: { container: { name: box } } }"),
  workload("fixed", "{ node: n1, process: { cgroup: fixed } }"),
  policy("worker", "  podSelector: { matchLabels: { app: worker } }\n  egress: []\n"),
  policy(
    "fixed",
    "  podSelector: { matchLabels: { app: fixed } }\n  ingress: [{ from: { podSelector: { matchLabels: { app: worker } } } }]\n",
  ),
].join("");
const report = (node: string, os = "linux", instances: NodeEndpoints["instances"] = []): NodeEndpoints => ({
  ...{ node, at: "2026-01-01T00:00:00.000Z", os, instances },
  addresses: [node === "n1" ? "10.0.0.1" : "10.0.0.2"],
});
const rulesetOn = (node: string, reports: readonly NodeEndpoints[], state = STATE) =>
  compile(placeReported(objectsOf(state), reports, node), node);

t.test("each workload that only a pattern tells has a template on its nodes, with the node's addresses", async (t) => {
  const { births, subjects } = rulesetOn("n1", [report("n1")]);
  t.match(births, { closesContainers: false, templates: { length: 3 } });
  t.match(births?.templates, [
    {
      subject: { workload: "default/exact@n1/*", cgroup: null, addresses: ["10.0.0.1"], egress: { mode: "open" } },
      pattern: { systemdUnit: "web.service" },
    },
    { subject: { workload: "default/job@n1/*", addresses: ["10.9.9.9"] }, pattern: { cgroup: "jobs/*" } },
    {
      subject: { workload: "default/worker@n1/*", egress: { mode: "enforce", policies: ["default/worker"] } },
      pattern: { systemdUnit: "worker@*.service" },
    },
  ]);
  t.notOk(
    subjects.some(({ workload }) => workload.endsWith("/*")),
    "a template is no workload that must be found",
  );
});

t.test("a node on which containers may run closes them until they are identified; others do not", async (t) => {
  t.match(rulesetOn("n2", [report("n2")]).births, { closesContainers: true, templates: { length: 1 } });
  t.match(rulesetOn("n1", [report("n1")]).births, { closesContainers: false });
});

t.test("an instance has its template, and the policy of it", async (t) => {
  const found = {
    ...{ workload: "default/worker", instance: "worker@1.service", addresses: [], ports: [] },
    cgroup: "system.slice/system-worker.slice/worker@1.service",
  };
  const { births, subjects, ...rest } = rulesetOn("n1", [report("n1", "linux", [found])]);
  const instance = subjects.find(({ workload }) => workload === "default/worker@n1/worker@1.service");
  const template = births?.templates.find(({ subject }) => subject.workload === instance?.template)?.subject;
  t.equal(template?.workload, "default/worker@n1/*");
  t.same([instance?.ingress, instance?.egress], [template?.ingress, template?.egress]);
  const image = lower({ births, subjects, ...rest });
  t.equal(image.subjects.get(instance?.workload ?? "")?.born, image.templates.get("default/worker@n1/*")?.id);
});

t.test("a template opens nothing: nobody's peer is a workload of which nothing runs", async (t) => {
  const peers = rulesetOn("n1", [report("n1")]).profiles.flatMap(({ clauses }) => clauses.map((one) => one.peers));
  t.same(peers, []);
});

t.test("where the Cluster says so, or there are no cgroups, nothing is closed", async (t) => {
  const open = `apiVersion: ztap/v1\nkind: Cluster\nmetadata: { name: cluster }\nspec: { newborn: open }\n---\n`;
  t.equal(rulesetOn("n1", [report("n1")], open + STATE).births, undefined);
  t.match(rulesetOn("n1", [report("n1")], open.replace("open", "closed") + STATE).births, { templates: { length: 3 } });
  t.equal(rulesetOn("n1", [report("n1", "darwin")]).births, undefined);
  t.equal(compile(placeReported(objectsOf(STATE), [report("n1")], null), "n1").births, undefined, "for nobody's view");
});
