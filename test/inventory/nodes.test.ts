/** Nodes as Git describes them, and the workloads that run on them. */
import t from "tap";
import { describeConflict, matchNode, mayRunOn, NodeDescriptions, runsOn } from "../../src/inventory/nodes.js";
import { describePattern, patternOf, refuseClaim, systemUnitOf } from "../../src/inventory/process.js";
import type { Workload } from "../../src/model/objects.js";
import { objectsOf } from "../builders/state.js";

const GROUPS = `
apiVersion: ztap/v1
kind: NodeGroup
metadata: { name: web, labels: { role: web } }
spec: { nodeNames: ["web-*"], addressRanges: [10.20.0.0/16] }
---
apiVersion: ztap/v1
kind: NodeGroup
metadata: { name: east, labels: { site: east } }
spec: { nodeNames: ["*-e?"], addressRanges: ["fd00:20::/32"] }
---
apiVersion: ztap/v1
kind: Node
metadata: { name: web-e1, labels: { canary: "true" } }
spec: { addresses: [192.0.2.1] }
---
apiVersion: ztap/v1
kind: Node
metadata: { name: bare }
`;

function workloadOf(spec: string): Workload {
  const text = `apiVersion: ztap/v1\nkind: Workload\nmetadata: {name: w}\nspec: ${spec}\n`;
  for (const { object } of objectsOf(text).values()) if (object.kind === "Workload") return object;
  throw new Error("no workload");
}

t.test("a node is its Node with every group whose patterns match", async (t) => {
  const objects = objectsOf(GROUPS);
  t.match(matchNode(objects, "web-e1"), {
    labels: { "kubernetes.io/hostname": "web-e1", canary: "true", role: "web", site: "east" },
    addresses: ["192.0.2.1"],
    addressRanges: ["192.0.2.1/32", "fd00:20::/32", "10.20.0.0/16"],
    groups: ["east", "web"],
    isDeclared: true,
    conflicts: [],
  });
  t.match(matchNode(objects, "web-7"), { groups: ["web"], addresses: [], isDeclared: false });
  t.match(matchNode(objects, "bare"), { groups: [], addressRanges: [], isDeclared: true });
  t.equal(matchNode(objects, "db-1"), undefined, "nothing describes it");
  t.match(matchNode(new Map(), "any"), { labels: { "kubernetes.io/hostname": "any" }, addressRanges: [] });
});

t.test("two values of one label refuse the node", async (t) => {
  const clash = `${GROUPS}---\napiVersion: ztap/v1\nkind: NodeGroup\nmetadata: {name: db, labels: {role: db}}\nspec: {nodeNames: ["web-9*"]}\n`;
  const nodes = new NodeDescriptions(objectsOf(clash));
  const [conflict] = nodes.match("web-91")?.conflicts ?? [];
  t.equal(conflict && describeConflict(conflict), "label role is db by NodeGroup db and web by NodeGroup web");
  t.same(nodes.match("web-1")?.conflicts, []);
});

t.test("a workload runs where its node or its selector says", async (t) => {
  const nodes = new NodeDescriptions(objectsOf(GROUPS));
  const [web, bare] = [nodes.match("web-7")!, nodes.match("bare")!];
  const byRole = workloadOf("{nodeSelector: {matchLabels: {role: web}}, process: {host: true}}");
  t.same([runsOn(byRole, web, null), runsOn(byRole, bare, null)], [true, false]);
  const byName = workloadOf("{node: bare, process: {host: true}}");
  t.same([runsOn(byName, web, null), runsOn(byName, bare, null)], [false, true]);
  const linux = workloadOf("{nodeSelector: {matchLabels: {kubernetes.io/os: linux}}, cgroup: a.slice}");
  t.same([runsOn(linux, web, "linux"), runsOn(linux, web, "darwin"), runsOn(linux, web, null)], [true, false, false]);
  t.equal(mayRunOn(linux, web), true, "the system is not known from Git");
  const declared = { ...web, labels: { ...web.labels, "kubernetes.io/os": "darwin" } };
  t.same([runsOn(linux, declared, "linux"), mayRunOn(linux, declared)], [false, false], "Git's word counts");
  t.equal(runsOn(workloadOf("{addresses: [192.0.2.9]}"), web, null), false, "an external peer runs nowhere");
});

t.test("only units of the system's own systemd are units", async (t) => {
  for (const [cgroup, unit] of [
    ["system.slice/nginx.service", "nginx.service"],
    ["system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"],
    ["system.slice/_cpu.service", "cpu.service"],
    ["user.slice/user-1000.slice/session-3.scope", "session-3.scope"],
    ["user.slice/user-1000.slice/user@1000.service/app.slice/nginx.service", null],
    ["machine.slice/box.scope/system.slice/nginx.service", null],
    ["system.slice/nginx.service/worker", null],
    ["system.slice/notes.txt", null],
  ] as const)
    t.equal(systemUnitOf(cgroup), unit, cgroup);
});

t.test("a claim that the path of its cgroup contradicts is refused", async (t) => {
  const claim = (process: string, cgroup: string, instance: string): boolean => {
    const pattern = patternOf(workloadOf(`{node: n, process: ${process}}`));
    if (pattern === null) throw new Error("no pattern");
    t.type(describePattern(pattern), "string");
    return refuseClaim(pattern, { cgroup, instance }) === null;
  };
  t.equal(claim("{systemdUnit: nginx.service}", "system.slice/nginx.service", ""), true);
  t.equal(claim("{systemdUnit: nginx.service}", "system.slice/nginx.service", "nginx.service"), false);
  t.equal(claim("{systemdUnit: nginx.service}", "system.slice/apache.service", ""), false);
  t.equal(claim('{systemdUnit: "w@*.service"}', "system.slice/system-w.slice/w@3.service", "w@3.service"), true);
  t.equal(claim('{systemdUnit: "w@*.service"}', "system.slice/system-w.slice/w@3.service", "w@4.service"), false);
  t.equal(claim('{cgroup: "m.slice/a-*"}', "m.slice/a-1", "m.slice/a-1"), true);
  t.equal(claim('{cgroup: "m.slice/a-*"}', "m.slice/b-1", "m.slice/b-1"), false);
  t.equal(claim("{cgroup: m.slice/a}", "m.slice/a", ""), true);
  t.equal(claim("{host: true}", "", ""), true);
  t.equal(claim("{host: true}", "system.slice", ""), false);
  t.equal(claim('{container: {name: "web-*"}}', "machine.slice/libpod-1.scope", "web-1"), true);
  t.equal(claim('{container: {name: "web-*"}}', "machine.slice/libpod-1.scope", "db-1"), false);
  t.equal(claim("{container: {labels: {app: web}}}", "machine.slice/libpod-1.scope", "anything"), true);
  t.equal(claim("{container: {labels: {app: web}}}", "", "anything"), false);
});
