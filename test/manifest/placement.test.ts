/** NodeGroup, nodeSelector and process: each bad input, and exactly its diagnostics. */
import t from "tap";
import { group, node, workload } from "../builders/documents.js";
import { diagnose } from "./diagnose.js";

/** The first two of a long list of names that have one identity. */
function twins(): string {
  const one = (name: string): string =>
    `---\napiVersion: ztap/v1\nkind: Workload\nmetadata: {name: ${name}}\nspec: {addresses: [192.0.2.2]}\n`;
  return one("w57848") + one("w85707");
}

const ROWS: readonly (readonly [name: string, text: string, expected: string])[] = [
  ["node and nodeSelector", workload("{node: n, cgroup: a,\n  nodeSelector: {}}"), "ZT2010 5:3 spec.nodeSelector"],
  ["cgroup and process", workload("{node: n, cgroup: a,\n  process: {host: true}}"), "ZT2010 5:3 spec.process"],
  ["two kinds of process", workload("{node: n, process: {cgroup: a,\n  host: true}}"), "ZT2010 5:3 spec.process.host"],
  ["a process that is empty", workload("{node: n,\n  process: {}}"), "ZT2004 5:3 spec.process"],
  [
    "a process without a node",
    workload("{addresses: [192.0.2.2],\n  process: {host: true}}"),
    "ZT2004 5:3 spec.process",
  ],
  ["a nodeSelector without processes", workload("{\n  nodeSelector: {}}"), "ZT2004 5:3 spec.nodeSelector"],
  [
    "a container without a condition",
    workload("{node: n, process: {\n  container: {}}}"),
    "ZT2004 5:3 spec.process.container",
  ],
  ["host that is false", workload("{node: n, process: {host: false}}"), "ZT2006 4:33 spec.process.host"],
  [
    "a unit without its type",
    workload("{node: n, process: {systemdUnit: nginx}}"),
    "ZT3030 4:40 spec.process.systemdUnit",
  ],
  [
    "a unit that no unit is",
    workload('{node: n, process: {systemdUnit: "a b.service"}}'),
    "ZT3030 4:40 spec.process.systemdUnit",
  ],
  [
    "a pattern of cgroups that climbs",
    workload('{node: n, process: {cgroup: "../*"}}'),
    "ZT3018 4:35 spec.process.cgroup",
  ],
  ["a user beside a process", workload("{node: n, process: {host: true},\n  user: www}"), "ZT2004 5:3 spec.user"],
  ["a group without nodes", group("{nodeNames: []}"), "ZT2004 4:8 spec.nodeNames"],
  [
    "a group of a name that no node has",
    group("{nodeNames: [Web_*, -a]}"),
    "ZT3030 4:20 spec.nodeNames[0]\nZT3030 4:27 spec.nodeNames[1]",
  ],
  [
    "a range with host bits",
    group("{nodeNames: [a], addressRanges: [10.0.0.1/8]}"),
    "ZT3006 4:40 spec.addressRanges[0]",
  ],
  ["a field that a group does not have", group("{nodeNames: [a], addresses: []}"), "ZT2003 4:24 spec.addresses"],
  ["a public key that is none", node("{addresses: [192.0.2.1], publicKey: abc}"), "ZT3031 4:43 spec.publicKey"],
  [
    "two workloads with one identity, where identities count",
    `apiVersion: ztap/v1\nkind: Cluster\nmetadata: {name: cluster}\nspec: {identity: syn}\n${twins()}`,
    "ZT4012 13:18 metadata.name",
  ],
  ["and where they do not", twins(), ""],
  [
    "a node that a group describes is declared",
    `${group('{nodeNames: ["web-*"]}')}---\n${workload("{node: web-7, cgroup: a}")}`,
    "",
  ],
  [
    "a node that no group describes",
    `${group('{nodeNames: ["web-*"]}')}---\n${workload("{node: db-7, cgroup: a}")}`,
    "ZT4002 9:14 spec.node",
  ],
  [
    "a label with two values",
    `${group('{nodeNames: ["n*"]}')}---\n${node("{}").replace("{name: n}", "{name: n, labels: {role: db}}")}`,
    "ZT4010 8:1 metadata",
  ],
  [
    "a nodeSelector of a label that nothing has",
    `${group('{nodeNames: ["n*"]}')}---\n${workload("{nodeSelector: {matchLabels: {rol: web}}, cgroup: a}")}`,
    "ZT5020 9:8 spec.nodeSelector",
  ],
  [
    "a nodeSelector that several groups together may meet",
    `${group('{nodeNames: ["n*"]}')}---\n${workload("{nodeSelector: {matchLabels: {role: web, kubernetes.io/os: linux}, matchExpressions: [{key: x, operator: DoesNotExist}]}, cgroup: a}")}`,
    "",
  ],
  [
    "one cgroup by two ways on a declared node",
    `${node("{}")}---\n${workload("{node: n, cgroup: a/b}")}---\n${workload("{nodeSelector: {}, process: {cgroup: a}}", "{name: v}")}`,
    "ZT4003 9:25 spec.cgroup",
  ],
  [
    "a unit and the cgroup that it gets",
    `${node("{}")}---\n${workload("{nodeSelector: {}, process: {systemdUnit: a.service}}")}---\n${workload("{node: n, cgroup: system.slice/a.service}", "{name: v}")}`,
    "ZT4003 9:35 spec.process",
  ],
];

for (const [name, text, expected] of ROWS) t.test(name, async (t) => t.equal(diagnose(text), expected));
