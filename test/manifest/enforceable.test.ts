/** What a node's backend cannot say is refused when it is planned, at the line that asks for it, and nowhere else. */
import t from "tap";
import { readBoundedManifests } from "../../src/wiring/manifests.js";

const node = (name: string, enforcement?: string): string => `apiVersion: ztap/v1
kind: Node
metadata: { name: ${name} }
spec: { address: "${name}.example.net:9470"${enforcement === undefined ? "" : `, enforcement: ${enforcement}`} }
---
`;
const workload = (name: string, spec: string): string => `apiVersion: ztap/v1
kind: Workload
metadata: { name: ${name}, labels: { app: ${name} } }
spec: { ${spec} }
---
`;
const policy = (port: string): string => `apiVersion: ztap/v1
kind: NetworkPolicy
metadata: { name: p }
spec:
  podSelector: {}
  ingress:
    - {}
    - ports: [{ ${port} }]
---
`;

const found = (...parts: readonly string[]) =>
  readBoundedManifests([{ path: "a.yaml", text: parts.join(""), blobId: "a" }]).diagnostics.filter(
    ({ code }) => code === "ZT4006" || code === "ZT5007" || code.startsWith("ZT2") || code === "ZT3024",
  );

const WEB = workload("web", 'node: mac, addresses: ["10.0.0.1"]');

t.test("SCTP ports and ICMP 255 are refused at the rule on a pf node, and accepted on an eBPF node", async (t) => {
  const sctp = policy("protocol: SCTP, port: 80");
  t.match(found(node("mac", "pf"), WEB, sctp), [
    {
      code: "ZT4006",
      severity: "error",
      line: 18,
      path: "spec.ingress[1]",
      message: /workload default\/web on node mac: .*SCTP ports/,
      fix: /without a port/,
    },
  ]);
  t.match(found(node("mac", "pf"), WEB, policy("protocol: ICMP, type: 255")), [{ code: "ZT4006", message: /255/ }]);
  t.same(found(node("mac", "pf"), WEB, policy("protocol: SCTP")), []);
  t.same(found(node("mac", "pf"), workload("web", 'addresses: ["10.0.0.1"]'), sctp), [], "no node of pf's enforces it");
  for (const said of [undefined, "ebpf"])
    t.same(found(node("mac", said), workload("web", 'node: mac, cgroup: w, addresses: ["10.0.0.1"]'), sctp), []);
});

t.test("on a pf node a workload needs addresses of its own; a cgroup is not required", async (t) => {
  const any = policy("port: 80");
  t.match(found(node("mac", "pf"), workload("web", "node: mac, cgroup: w"), any), [
    { code: "ZT4006", line: 9, path: "spec", message: /has no address of its own/ },
  ]);
  t.match(found(node("mac", "pf"), WEB, workload("api", 'node: mac, addresses: ["10.0.0.1"]'), any), [
    { code: "ZT4006", message: /web on .* from default\/api/ },
    { code: "ZT4006", message: /api on .* from default\/web/ },
  ]);
  t.same(found(node("mac", "pf"), WEB), [], "and nothing where nothing isolates it");
  t.match(found(node("mac"), WEB), [{ code: "ZT5007", severity: "warning" }]);
});

t.test("a user is accepted on pf nodes only, and must be a name; enforcement has two values", async (t) => {
  const owned = (user: string, rest = "") =>
    workload("web", `node: mac, ${rest}addresses: ["10.0.0.1"], user: ${user}`);
  t.same(found(node("mac", "pf"), owned("_www")), []);
  t.match(found(node("mac"), owned("_www", "cgroup: w, ")), [
    { code: "ZT4006", message: /eBPF identifies a workload by its cgroup, not by the user _www/ },
  ]);
  for (const user of ['"a b"', "unknown", '"x\\" pass quick"', '"501"', `"${"a".repeat(32)}"`])
    t.match(found(node("mac", "pf"), owned(user)), [{ code: "ZT3024", path: "spec.user" }], user);
  t.match(found(node("mac", "iptables")), [{ code: "ZT2006" }]);
});

t.test("a pf node has a capacity, too", async (t) => {
  const blocks = (count: number): string =>
    `apiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: { name: wide }\nspec:\n  podSelector: {}\n  egress:\n    - to:\n${Array.from({ length: count }, (_one, at) => `        - ipBlock: { cidr: "10.${at >> 15}.${(at >> 7) & 255}.${(at & 127) * 2}/32" }\n`).join("")}`;
  const codes = (count: number): readonly string[] =>
    readBoundedManifests([
      { path: "a", text: node("mac", "pf") + WEB + blocks(count), blobId: `${count}` },
    ]).diagnostics.map(({ code, message }) => `${code} ${message}`);
  const pairs = (count: number, net = 10): string =>
    `apiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: { name: many${net} }\nspec:\n  podSelector: {}\n  egress:\n${Array.from(
      { length: count },
      (_one, at) =>
        `    - to: [{ ipBlock: { cidr: "${net}.${at}.0.0/24" } }, { ipBlock: { cidr: "${net}.${at}.2.0/24" } }]\n`,
    ).join("")}`;
  t.same(found(node("mac", "pf"), WEB, pairs(200)), []);
  t.match(found(node("mac", "pf"), WEB, pairs(250), "---\n", pairs(250, 11)), [
    { code: "ZT4006", message: /need 500 tables of addresses/ },
  ]);
  t.same(codes(90_000), []);
  t.match(codes(100_001), [/^ZT4005 .*100000 table entries/]);
});

t.test("on an eBPF node the cgroup paths have at most as many names as the kernel holds", async (t) => {
  const path = (at: number): string => Array.from({ length: 30 }, (_one, level) => `w${at}-${level}`).join("/");
  const workloads = (count: number, on: string): string =>
    Array.from({ length: count }, (_one, at) =>
      workload(`w${at}`, `node: ${on}, cgroup: ${path(at)}, addresses: ["10.0.0.1"]`),
    ).join("");
  t.same(found(node("web"), workloads(273, "web")), []);
  t.match(found(node("web"), workloads(274, "web")), [
    { code: "ZT4006", severity: "error", path: "spec", message: /workload default\/w0 on node web: .* 8220 .* 8192/ },
  ]);
});

t.test("an eBPF node has at most as many patterns of cgroups as each newborn one is compared with", async (t) => {
  const workloads = (count: number): string =>
    Array.from({ length: count }, (_one, at) =>
      workload(`w${at}`, `node: web, process: {systemdUnit: "w${at}@*.service"}`),
    ).join("");
  const open = `apiVersion: ztap/v1\nkind: Cluster\nmetadata: { name: cluster }\nspec: { newborn: open }\n---\n`;
  t.same(found(node("web"), workloads(128)), []);
  t.match(found(node("web"), workloads(129)), [
    { code: "ZT4006", severity: "error", message: /workload default\/w\d+ on node web: .* 129 patterns .* 128/ },
  ]);
  t.same(found(node("web"), open, workloads(129)), []);
});

t.test("a policy may isolate a host; where it cuts what every machine needs, there is a warning", async (t) => {
  const host = workload("host", "node: box, process: {host: true}");
  const lines = (...rules: readonly string[]): readonly string[] =>
    readBoundedManifests([
      {
        path: "a.yaml",
        text: [node("box"), host, workload("web", "node: box, cgroup: web, addresses: [10.0.0.1]"), ...rules].join(""),
        blobId: "a",
      },
    ]).diagnostics.map(({ code, path, message }) => `${code} ${path} ${message}`);
  const of = (rules: string, app = "host", more = ""): string =>
    `apiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: { name: p${app} }\nspec: { podSelector: {matchLabels: {app: ${app}}}, ${rules}${more} }\n---\n`;
  const [ssh, dns] = [
    /^ZT5022 spec\.process\.host policies isolate the ingress .* SSH.*TCP port 22/,
    /^ZT5022 spec\.process\.host policies isolate the egress .* name resolution \(UDP port 53\)/,
  ];
  t.match(lines(of("ingress: [], egress: []")), { length: 2, 0: dns, 1: ssh });
  t.match(lines(of("ingress: [], egress: [{}]")), { length: 1, 0: ssh });
  t.match(lines(of("egress: [{ports: [{port: 53}]}]")), { length: 1, 0: dns });
  t.same(
    lines(of("egress: [{ports: [{protocol: UDP, port: 1, endPort: 100}]}], ingress: [{ports: [{port: 22}]}]")),
    [],
  );
  t.same(lines(of("ingress: [], egress: []", "host", ", mode: audit")), [], "audit cuts nothing");
  t.same(lines(of("ingress: [], egress: []", "web")), [], "another workload's");
  t.same(found(node("box"), host, policy("port: 80")), [], "nothing is refused");
});

t.test("a workload is checked on each node that it may run on, also on those that a group describes", async (t) => {
  const group = `apiVersion: ztap/v1\nkind: NodeGroup\nmetadata: { name: g, labels: { role: web } }\nspec: { nodeNames: ["web-*"] }\n---\n`;
  const all = workload("web", "nodeSelector: {matchLabels: {role: web}}, process: {host: true}");
  t.same(found(group, all, policy("port: 80")), []);
  const mac = node("mac", "pf").replace("{ name: mac }", "{ name: mac, labels: { role: web } }");
  const unit = workload("web", "nodeSelector: {matchLabels: {role: web}}, process: {systemdUnit: a.service}");
  t.match(found(mac, unit, policy("port: 80")), [{ code: "ZT4006", message: /default\/web on node mac/ }]);
});
