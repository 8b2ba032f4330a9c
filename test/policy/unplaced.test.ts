/** Workloads whose addresses Git does not say: what is proven of them, against every place that they may have. */
import fc from "fast-check";
import t from "tap";
import { readManifests } from "../../src/manifest/read.js";
import type { ObjectSet } from "../../src/model/state.js";
import { listConnections } from "../../src/policy/reachability/connectivity.js";
import { findBroken } from "../../src/policy/reachability/connectivity-tests.js";
import { PortSets, type PortSetId } from "../../src/policy/reachability/port-sets.js";
import { createReach, type Reach } from "../../src/policy/reachability/reach.js";
import { arbitraryState } from "../builders/arbitrary.js";
import { objectsOf, objectsOfDocuments, policy, workload } from "../builders/state.js";
import { volume } from "../volume.js";

/** Inside, outside and at the borders of the blocks that a random state has; no random workload has any of these. */
const RANGES = ["10.0.0.16/30", "192.168.0.0/30", "192.167.255.252/30", "fd00::c/126", "fd00:1::/126"];
const PLACES: readonly (readonly [string, string])[] = [
  ["10.0.0.16", "10.0.0.17"],
  ["192.168.0.0", "192.168.0.1"],
  ["192.167.255.252", "192.167.255.253"],
  ["fd00::c", "fd00::d"],
  ["fd00:1::", "fd00:1::1"],
];
const GROUP = {
  apiVersion: "ztap/v1",
  kind: "NodeGroup",
  metadata: { name: "all", labels: { role: "web" } },
  spec: { nodeNames: ["*"], addressRanges: RANGES },
};

interface WorkloadLike {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: object;
}
const isWorkload = (document: object, name: string): document is WorkloadLike =>
  "kind" in document && document.kind === "Workload" && JSON.stringify(document).includes(`"name":"${name}"`);

/** Gives the two workloads other specs. */
function withSpecs(documents: readonly object[], specs: Readonly<Record<string, object>>): ObjectSet {
  const changed = documents.map((document) => {
    const own = Object.keys(specs).find((name) => isWorkload(document, name));
    if (own === undefined || !isWorkload(document, own)) return document;
    const ports = "ports" in document.spec ? document.spec.ports : [];
    return { ...document, spec: { ...specs[own], ports } };
  });
  return objectsOfDocuments([GROUP, ...changed]);
}

type Row = "row" | "sureRow";

function between(reach: Reach, from: string, to: string, row: Row): PortSetId {
  const [a, b] = [reach.names.indexOf(from), reach.names.indexOf(to)];
  return reach[row](reach.classOf[a] ?? 0)[reach.classOf[b] ?? 0] ?? 0;
}

const isV6 = (address: string): boolean => address.includes(":");

t.test(
  "what is allowed somewhere, and what everywhere, is so over every place that two workloads may have",
  async (t) => {
    const pattern = { nodeSelector: { matchLabels: { role: "web" } }, process: { host: true } };
    fc.assert(
      fc.property(arbitraryState, (documents) => {
        const sets = new PortSets();
        const symbolic = createReach(withSpecs(documents, { w0: pattern, w1: pattern }), sets);
        const names = symbolic.names;
        const [w0, w1] = ["w0", "w1"].map((name) => names.find((full) => full.endsWith(`/${name}`)));
        const some = new Map<string, PortSetId>();
        const each = new Map<string, PortSetId>();
        for (const [one] of PLACES) {
          for (const [, other] of PLACES) {
            const placed = withSpecs(documents, { w0: { addresses: [one] }, w1: { addresses: [other] } });
            const reach = createReach(placed, sets);
            const families = new Map(
              reach.ruleset.subjects.map(({ workload, addresses }) => [workload, new Set(addresses.map(isV6))]),
            );
            for (const from of names) {
              for (const to of names) {
                if (from === to || (![w0, w1].includes(from) && ![w0, w1].includes(to))) continue;
                const key = `${from} ${to}`;
                const set = between(reach, from, to, "row");
                some.set(key, sets.union(some.get(key) ?? sets.empty, set));
                const canMeet = [...(families.get(from) ?? [])].some((family) => families.get(to)?.has(family));
                if (canMeet) each.set(key, each.has(key) ? sets.intersect(each.get(key) ?? sets.empty, set) : set);
              }
            }
          }
        }
        for (const [key, set] of some) {
          const [from = "", to = ""] = key.split(" ");
          if (between(symbolic, from, to, "row") !== set) return false;
          if (between(symbolic, from, to, "sureRow") !== (each.get(key) ?? sets.empty)) return false;
        }
        return true;
      }),
      { numRuns: volume(60, 2000) },
    );
    t.pass();
  },
);

const NODES = `---
apiVersion: ztap/v1
kind: NodeGroup
metadata: { name: web, labels: { role: web } }
spec: { nodeNames: ["web-*"], addressRanges: [10.20.0.0/16] }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: web, labels: { app: web } }
spec: { nodeSelector: { matchLabels: { role: web } }, process: { systemdUnit: nginx.service } }
`;
const DB = workload("db 10.30.0.1 app=db");
const test = (list: "allow" | "deny", ports = "[{port: 5432}]"): string =>
  `---\napiVersion: ztap/v1\nkind: ConnectivityTest\nmetadata: { name: t }\nspec: { ${list}: [{ from: { podSelector: { matchLabels: { app: web } } }, to: { podSelector: { matchLabels: { app: db } } }, ports: ${ports} }] }\n`;
/** Also a state that breaks its tests. */
const readState = (text: string): ObjectSet => readManifests([{ path: "state.yaml", text, blobId: "" }]).objects;
const ingress = (from: string): string =>
  policy(
    "db",
    `  podSelector: { matchLabels: { app: db } }\n  ingress: [{ from: ${from}, ports: [{ port: 5432 }] }]\n`,
  );

t.test("a workload without known addresses is a subject, and a peer by its labels", async (t) => {
  const state = objectsOf(NODES + DB + ingress("{ podSelector: { matchLabels: { app: web } } }"));
  t.match(listConnections(state, { within: [{ protocol: "TCP", first: 5432, last: 5432 }] }), [
    { from: "default/db", to: "default/web" },
    { from: "default/db" },
    { from: "default/db" },
    { from: "default/web", to: "default/db", protocol: "TCP", ports: [[5432, 5432]] },
  ]);
  const broken = (text: string): number => findBroken(readState(text)).length;
  const byLabel = NODES + DB + ingress("{ podSelector: { matchLabels: { app: web } } }");
  t.same([broken(byLabel + test("allow")), broken(byLabel + test("deny"))], [0, 1]);
});

t.test(
  "a block that covers only some of its places proves neither that it is allowed nor that it is not",
  async (t) => {
    const broken = (from: string, list: "allow" | "deny"): number =>
      findBroken(readState(NODES + DB + ingress(from) + test(list))).length;
    const all = "{ ipBlock: { cidr: 10.20.0.0/15 } }";
    const half = "{ ipBlock: { cidr: 10.20.0.0/17 } }";
    const none = "{ ipBlock: { cidr: 10.30.0.0/16 } }";
    t.same([broken(all, "allow"), broken(all, "deny")], [0, 1]);
    t.same([broken(half, "allow"), broken(half, "deny")], [1, 1]);
    t.same([broken(none, "allow"), broken(none, "deny")], [1, 0]);
  },
);

t.test("a counter-example names the place where a test breaks", async (t) => {
  const text = (from: string, list: "allow" | "deny"): string => {
    const state = readManifests([{ path: "s.yaml", text: NODES + DB + ingress(from) + test(list), blobId: "" }]);
    return state.diagnostics.map(({ message }) => message).join("\n");
  };
  const half = "{ ipBlock: { cidr: 10.20.0.0/17 } }";
  t.equal(
    text(half, "deny"),
    "default/web → default/db TCP 5432 is allowed and must not be: nothing isolates egress of default/web, and default/db ingress[0] (s.yaml:24) allows it",
  );
  t.equal(
    text(half, "allow"),
    "default/web → default/db TCP 5432 is denied and must be allowed: default/db (s.yaml:19) isolates ingress of default/db, and no rule allows it",
  );
  const broken = findBroken(readState(NODES + DB + ingress(half) + test("allow")));
  t.match(broken, [
    { example: { explanation: { verdict: "Denied", pairs: [{ from: "10.20.128.0", to: "10.30.0.1" }] } } },
  ]);
});

/** A second instance of each workload, as a workload of its own: `w0` → `x0`. */
function withTwins(documents: readonly object[]): readonly object[] {
  const twins = documents.flatMap((document) => {
    const own = ["w0", "w1", "w2", "w3", "w4"].find((name) => isWorkload(document, name));
    if (own === undefined || !isWorkload(document, own)) return [];
    return [{ ...document, metadata: { ...document.metadata, name: own.replace("w", "x") } }];
  });
  return [...documents, ...twins];
}

t.test(
  "a state of patterns has the connections of the same state with typed addresses, where no two are alike, and two instances of each",
  async () => {
    fc.assert(
      fc.property(arbitraryState, (documents) => {
        const labelsOnly = documents.filter((document) => !/ipBlock|networkSet/.test(JSON.stringify(document)));
        const names = ["w0", "w1", "w2", "w3", "w4", "x0", "x1", "x2", "x3", "x4"];
        const typed = Object.fromEntries(names.map((name, index) => [name, { addresses: [`10.1.0.${index + 1}`] }]));
        const pattern = { nodeSelector: { matchLabels: { role: "web" } }, process: { host: true } };
        const patterns = Object.fromEntries(names.map((name) => [name, pattern]));
        const between = (objects: ObjectSet): readonly string[] =>
          listConnections(objects)
            .map((connection) => ({ ...connection, to: connection.to.replace("/x", "/w") }))
            .filter(({ from, to }) => /\/w\d$/.test(from) && /\/w\d$/.test(to))
            .map((connection) => JSON.stringify(connection));
        const wanted = new Set(between(withSpecs(withTwins(labelsOnly), typed)));
        const found = between(withSpecs(labelsOnly, patterns));
        return found.length === wanted.size && found.every((one) => wanted.has(one));
      }),
      { numRuns: volume(200, 5000) },
    );
  },
);

const PEERS = policy(
  "peers",
  "  podSelector: {}\n  ingress: [{ from: { podSelector: {} }, ports: [{ port: 22 }] }]\n  egress: [{ to: { podSelector: {} }, ports: [{ port: 22 }] }]\n",
);
const fleet = (node: string, process: string, names = `["web-*"]`): string => `---
apiVersion: ztap/v1
kind: NodeGroup
metadata: { name: web, labels: { role: web } }
spec: { nodeNames: ${names}, addressRanges: [10.20.0.0/16] }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: web, labels: { app: web } }
spec: { ${node}, process: { ${process} } }
`;

t.test("instances of one workload are ends of connections, wherever there may be two", async (t) => {
  const role = "nodeSelector: { matchLabels: { role: web } }";
  const host = "nodeSelector: { matchLabels: { role: web, kubernetes.io/hostname: web-1 } }";
  const unit = "systemdUnit: nginx.service";
  for (const [text, isListed] of [
    [fleet(role, unit), true],
    [fleet(role, unit, "[web-1, web-2]"), true],
    [fleet(role, unit, "[web-1]"), false],
    [fleet(host, unit), false],
    [fleet("node: web-1", unit), false],
    [fleet("node: web-1", "host: true"), false],
    [fleet("node: web-1", 'systemdUnit: "worker@*.service"'), true],
    [fleet("node: web-1", 'cgroup: "a/*"'), true],
    [fleet("node: web-1", "cgroup: a/b"), false],
    [fleet("node: web-1", "container: { name: web }"), true],
  ] as const) {
    const own = listConnections(objectsOf(text + PEERS)).filter(({ from, to }) => from === to);
    t.match(own, isListed ? [{ from: "default/web", to: "default/web", ports: [[22, 22]] }] : [], text);
    t.equal(own.length, isListed ? 1 : 0, text);
  }
});

t.test(
  "a test that forbids connections among the instances of a workload is broken by a policy that opens them",
  async (t) => {
    const among = (list: "allow" | "deny", state: string): readonly string[] =>
      readManifests([
        { path: "s.yaml", text: state + test(list, "[{ port: 22 }]").replace("app: db", "app: web"), blobId: "" },
      ]).diagnostics.map(({ message }) => message);
    const role = "nodeSelector: { matchLabels: { role: web } }";
    const open = fleet(role, "systemdUnit: nginx.service") + PEERS;
    const closed = open.replaceAll("port: 22", "port: 23");
    t.same(among("allow", open), []);
    t.same(among("deny", closed), []);
    t.same(among("deny", open), [
      "default/web → default/web TCP 22 is allowed and must not be: default/peers egress[0] (s.yaml:18) allows it, and default/peers ingress[0] (s.yaml:17) allows it",
    ]);
    t.match(among("allow", closed), [/^default\/web → default\/web TCP 22 is denied and must be allowed: /]);
  },
);
