/** What nodes report, against what Git allows them. */
import t from "tap";
import { instanceName } from "../../src/inventory/names.js";
import { placeInstances } from "../../src/inventory/place.js";
import { expectedCgroup } from "../../src/inventory/process.js";
import { resolveInstances, type Resolution } from "../../src/inventory/resolve.js";
import { listSharedAddresses } from "../../src/inventory/shared-addresses.js";
import { isSubjectName, workloadOf, type NodeEndpoints, type ReportedInstance } from "../../src/model/endpoints.js";
import { compile } from "../../src/policy/compile/compile.js";
import { objectsOf, policy } from "../builders/state.js";

const group = (name: string, ranges: string): string =>
  `---\napiVersion: ztap/v1\nkind: NodeGroup\nmetadata: { name: ${name}, labels: { role: ${name} } }\nspec: { nodeNames: ["${name}-*"], addressRanges: [${ranges}] }\n`;
const workload = (name: string, spec: string): string =>
  `---\napiVersion: ztap/v1\nkind: Workload\nmetadata: { name: ${name}, namespace: shop, labels: { app: ${name} } }\nspec: ${spec}\n`;

const STATE = [
  group("web", "10.20.0.0/16, fd00:20::/32"),
  group("db", "10.30.0.0/16"),
  group("bare", ""),
  workload(
    "web",
    "{nodeSelector: {matchLabels: {role: web}}, process: {systemdUnit: nginx.service}, ports: [{name: http, port: 80}]}",
  ),
  workload("worker", '{nodeSelector: {matchLabels: {role: web}}, process: {systemdUnit: "worker@*.service"}}'),
  workload("box", '{nodeSelector: {matchLabels: {role: db}}, process: {container: {name: "pg-*"}}}'),
  workload("old", "{node: web-1, cgroup: system.slice/old.service, addresses: [10.20.0.99]}"),
  policy(
    "web",
    "  podSelector: { matchLabels: { app: web } }\n  ingress: [{ from: { podSelector: { matchLabels: { app: box } } } }]\n",
    { namespace: "shop" },
  ),
].join("");

const objects = objectsOf(STATE);
const report = (
  node: string,
  addresses: readonly string[],
  instances: readonly Partial<ReportedInstance>[] = [],
): NodeEndpoints => ({
  node,
  at: "2026-01-01T00:00:00.000Z",
  os: "linux",
  addresses,
  instances: instances.map((one) => ({
    workload: "shop/web",
    instance: "",
    cgroup: "",
    addresses: [],
    ports: [],
    ...one,
  })),
});

const names = ({ instances }: Resolution): readonly string[] => instances.map(({ name }) => name);
const refused = ({ refused }: Resolution): readonly string[] =>
  refused.map(({ node, what, why }) => `${node}: ${what}: ${why}`);

const NGINX = { workload: "shop/web", cgroup: "system.slice/nginx.service" };

t.test("each cgroup that matches is an instance with its node's addresses, or its own", async (t) => {
  const worker = {
    workload: "shop/worker",
    instance: "worker@3.service",
    cgroup: "system.slice/system-worker.slice/worker@3.service",
  };
  const pg = {
    workload: "shop/box",
    instance: "pg-1",
    cgroup: "machine.slice/libpod-1.scope",
    addresses: ["10.30.9.1", "10.88.0.1"],
  };
  const found = resolveInstances(objects, [
    report("web-1", ["10.20.0.1", "FD00:20::0:1"], [NGINX, worker]),
    report("db-1", ["10.30.0.1"], [pg]),
  ]);
  t.match(found.instances, [
    { name: "shop/box@db-1/pg-1", addresses: ["10.30.9.1"], cgroup: "machine.slice/libpod-1.scope" },
    { name: "shop/web@web-1", addresses: ["10.20.0.1", "fd00:20::1"], at: "2026-01-01T00:00:00.000Z" },
    { name: "shop/worker@web-1/worker@3.service", node: "web-1", workload: "shop/worker" },
  ]);
  t.same(refused(found), [
    "db-1: shop/box@db-1/pg-1: address 10.88.0.1: it lies outside the addressRanges of the node's groups",
  ]);
});

t.test(
  "what a node reports of others, or outside of its ranges, does not count and changes nothing else",
  async (t) => {
    const good = report("web-1", ["10.20.0.1"], [NGINX]);
    const alone = resolveInstances(objects, [good]);
    const claims = [
      NGINX,
      { workload: "shop/box", instance: "pg-1", cgroup: "machine.slice/x.scope", addresses: ["10.20.0.1"] },
      { workload: "shop/none", cgroup: "a" },
      { workload: "shop/old", cgroup: "system.slice/old.service" },
    ];
    const evil = report("bare-1", ["10.20.0.1", "127.0.0.1"], claims);
    const found = resolveInstances(objects, [evil, good, report("stranger", ["10.20.0.1"], claims)]);
    t.same(found.instances, alone.instances);
    t.same(refused(found), [
      "bare-1: address 10.20.0.1: no NodeGroup of the node has addressRanges, and its Node has no addresses",
      "bare-1: address 127.0.0.1: it identifies no host",
      "bare-1: instance shop/web: this workload does not run on this node",
      "bare-1: instance shop/box/pg-1: this workload does not run on this node",
      "bare-1: instance shop/none: there is no such workload",
      "bare-1: instance shop/old: Git alone says where this workload is",
      "stranger: all that it reports: no Node and no NodeGroup describes it",
    ]);
    const declared = resolveInstances(objects, [report("web-2", ["10.20.0.99", "10.20.0.2"], [NGINX])]);
    t.match(declared.instances, [{ name: "shop/web@web-2", addresses: ["10.20.0.2"] }]);
    t.same(refused(declared), ["web-2: address 10.20.0.99: Git declares it for web-1"]);
  },
);

t.test("a claim must match its pattern, once, in a cgroup of its own", async (t) => {
  const found = resolveInstances(objects, [
    report(
      "web-1",
      [],
      [
        { ...NGINX, cgroup: "user.slice/user-1.slice/user@1.service/app.slice/nginx.service" },
        { ...NGINX, cgroup: "../nginx.service" },
        NGINX,
        { ...NGINX, cgroup: "other.slice/nginx.service" },
        {
          workload: "shop/worker",
          instance: "worker@old.service",
          cgroup: "system.slice/old.service/worker@old.service",
        },
      ],
    ),
  ]);
  t.same(names(found), ["shop/web@web-1"]);
  t.same(refused(found), [
    "web-1: instance shop/web: user.slice/user-1.slice/user@1.service/app.slice/nginx.service is not the cgroup of a unit nginx.service",
    "web-1: instance shop/web: its cgroup is no path below the cgroup root",
    "web-1: instance shop/worker/worker@old.service: system.slice/old.service/worker@old.service is not the cgroup of a unit worker@*.service",
    "web-1: instance shop/web@web-1: it is reported twice",
  ]);
});

t.test("cgroups that overlap: the outer one counts, and one that Git places before all others", async (t) => {
  const state = objectsOf(
    [
      group("web", "10.0.0.0/8"),
      workload("old", "{node: web-1, cgroup: a/b/c}"),
      workload("deep", '{nodeSelector: {}, process: {cgroup: "x/y/*"}}'),
      workload("wide", '{nodeSelector: {}, process: {cgroup: "x/*"}}'),
      workload("around", '{nodeSelector: {}, process: {cgroup: "a/*"}}'),
    ].join(""),
  );
  const claim = (name: string, cgroup: string) => ({ workload: `shop/${name}`, instance: cgroup, cgroup });
  const found = resolveInstances(state, [
    report("web-1", [], [claim("deep", "x/y/z"), claim("wide", "x/y"), claim("around", "a/b"), claim("around", "a/d")]),
  ]);
  t.same(names(found), ["shop/around@web-1/a/d", "shop/wide@web-1/x/y"]);
  t.same(refused(found), [
    "web-1: instance shop/around@web-1/a/b: its cgroup a/b contains that of another workload",
    "web-1: instance shop/deep@web-1/x/y/z: its cgroup x/y/z lies inside that of shop/wide@web-1/x/y",
  ]);
});

t.test("an instance that Git alone places is there before it is found", async (t) => {
  const silent = resolveInstances(objects, [], "web-9");
  t.match(silent.instances, [
    { name: "shop/web@web-9", cgroup: "system.slice/nginx.service", addresses: [], at: null },
  ]);
  t.same(names(resolveInstances(objects, [])), [], "a node that nothing names is not known");
  for (const [systemdUnit, cgroup] of [
    ["nginx.service", "system.slice/nginx.service"],
    ["getty@tty1.service", "system.slice/system-getty.slice/getty@tty1.service"],
    ["serial-getty@ttyS0.service", "system.slice/system-serial\\x2dgetty.slice/serial-getty@ttyS0.service"],
    ["memory.service", "system.slice/_memory.service"],
    ["a-b-c.slice", "a.slice/a-b.slice/a-b-c.slice"],
    ["docker-1.scope", null],
    ["worker@*.service", null],
  ] as const)
    t.equal(expectedCgroup({ systemdUnit }), cgroup, systemdUnit);
});

t.test("a node itself knows its addresses, whatever others believe of it", async (t) => {
  const own = report("web-1", ["10.20.0.1", "192.168.0.1", "127.0.0.1"], [NGINX]);
  t.match(resolveInstances(objects, [own], "web-1").instances, [{ addresses: ["10.20.0.1", "192.168.0.1"] }]);
  t.match(resolveInstances(objects, [own], "db-1").instances[0]?.addresses, ["10.20.0.1"]);
});

t.test("ten thousand refusals are a hundred lines", async (t) => {
  const many = Array.from({ length: 4096 }, (_, index) => ({ workload: `shop/w${index}`, cgroup: "a" }));
  const { refused } = resolveInstances(objects, [report("web-1", [], many)]);
  t.equal(refused.length, 100);
  t.match(refused.at(-1), { what: "3997 more" });
});

t.test("of the addresses of one node only so many count", async (t) => {
  const boxes = Array.from({ length: 200 }, (_, index) => ({
    workload: "shop/box",
    instance: `pg-${index}`,
    cgroup: `machine.slice/${index}.scope`,
    addresses: Array.from({ length: 64 }, (_one, at) => `10.30.${index}.${at + 1}`),
  }));
  const { instances, refusedCount } = resolveInstances(objects, [report("db-1", [], boxes)]);
  t.equal(instances.length, 200, "its instances are enforced all the same");
  t.equal(instances.flatMap(({ addresses }) => addresses).length, 8192);
  t.equal(refusedCount, 72);
});

t.test("instances are subjects and peers with the labels and ports of their workload", async (t) => {
  const pg = (name: string, address: string) => ({
    workload: "shop/box",
    instance: name,
    cgroup: `machine.slice/${name}.scope`,
    addresses: [address],
  });
  const found = resolveInstances(objects, [
    report("web-1", ["10.20.0.1"], [NGINX]),
    report("db-1", [], [pg("pg-1", "10.30.9.1"), pg("pg-2", "10.30.9.2")]),
  ]);
  const placed = placeInstances(objects, found);
  const ruleset = compile(placed, "web-1");
  t.match(ruleset.subjects, [
    { workload: "shop/old", cgroup: "system.slice/old.service" },
    {
      workload: "shop/web@web-1",
      cgroup: "system.slice/nginx.service",
      addresses: ["10.20.0.1"],
      ingress: { mode: "enforce" },
    },
  ]);
  t.match(ruleset.profiles, [{ clauses: [{ peers: ["10.30.9.1/32", "10.30.9.2/32"] }] }]);
  t.match(placed.get("Node//web-1")?.object, { spec: { addresses: ["10.20.0.1"] } });
  const again = placeInstances(
    objects,
    resolveInstances(objects, [report("db-1", [], [pg("pg-1", "10.30.9.1")]), report("web-1", ["10.20.0.1"], [NGINX])]),
  );
  t.not(compile(again, "web-1").digest, ruleset.digest);
});

t.test("a name is that of a subject, unique, and fits into a file system", async (t) => {
  const long = `kubepods.slice/${"x".repeat(200)}/cri-containerd-`;
  const [one, other] = [instanceName("shop/web", "web-1", `${long}1`), instanceName("shop/web", "web-1", `${long}2`)];
  t.not(one, other);
  t.match(one, /^shop\/web@web-1\/kubepods\.slice\/x+~[0-9a-f]{16}$/);
  for (const name of [
    one,
    "shop/web",
    instanceName("shop/web", "web-1", ""),
    instanceName("shop/w", "n", "worker@3.service"),
  ]) {
    t.equal(isSubjectName(name), true, name);
    t.match(workloadOf(name), /^shop\/w(eb)?$/);
  }
  for (const bad of ["shop", "shop/web@", "shop/web@N", "shop/web@n/", "shop/web@n/a b", "a/b/c"])
    t.equal(isSubjectName(bad), false, bad);
});

t.test(
  "addresses that more than one node has, or a workload on it, are listed; those that Git declares are not",
  async (t) => {
    const all = objectsOf(
      STATE + workload("balanced", "{nodeSelector: {}, process: {systemdUnit: lb.service}, addresses: [10.20.9.9]}"),
    );
    const box = (node: string, address: string): NodeEndpoints =>
      report(
        node,
        [],
        [{ workload: "shop/box", instance: "pg-1", cgroup: "machine.slice/pg-1.scope", addresses: [address] }],
      );
    const shared = listSharedAddresses(
      all,
      resolveInstances(all, [
        report("web-2", ["10.20.0.5", "10.20.0.2"]),
        report("web-1", ["10.20.0.5", "10.30.0.7"]),
        box("db-1", "10.30.0.7"),
        box("db-2", "10.30.0.7"),
        report("web-3", ["10.20.0.3"]),
      ]),
    );
    t.same(shared, [
      { address: "10.20.0.5", nodes: ["web-1", "web-2"] },
      { address: "10.30.0.7", nodes: ["db-1", "db-2"] },
    ]);
  },
);
