/** Canonical form: defaults, short forms, positions, and the cache. */
import t from "tap";
import type { NetworkPolicy, ZtapObject } from "../../src/model/objects.js";
import { createManifestCache, readManifests, type Manifests } from "../../src/manifest/read.js";

const read = (text: string): Manifests => readManifests([{ path: "a.yaml", text, blobId: "a" }]);

function only(text: string): ZtapObject {
  const { objects, diagnostics } = read(text);
  const errors = diagnostics.filter(({ severity }) => severity === "error");
  const [state] = objects.values();
  if (state === undefined || objects.size !== 1) throw new Error(`one object is wanted: ${JSON.stringify(errors)}`);
  return state.object;
}

const policy = (spec: string, apiVersion = "ztap/v1"): NetworkPolicy => {
  const object = only(`apiVersion: ${apiVersion}\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: ${spec}\n`);
  if (object.kind !== "NetworkPolicy") throw new Error("a policy is wanted");
  return object;
};
const kubernetes = (spec: string): NetworkPolicy => policy(spec, "networking.k8s.io/v1");

t.test("policyTypes: Kubernetes' defaulting, and the keys that are present in ztap/v1", async (t) => {
  const rows: readonly (readonly [NetworkPolicy, readonly string[]])[] = [
    [kubernetes("{}"), ["Ingress"]],
    [kubernetes("{egress: []}"), ["Ingress"]],
    [kubernetes("{egress: [{}]}"), ["Ingress", "Egress"]],
    [kubernetes("{policyTypes: [], egress: [{}]}"), ["Ingress", "Egress"]],
    [kubernetes("{policyTypes: [Egress]}"), ["Egress"]],
    [kubernetes("{policyTypes: [Egress, Ingress]}"), ["Ingress", "Egress"]],
    [policy("{}"), []],
    [policy("{ingress: []}"), ["Ingress"]],
    [policy("{egress: []}"), ["Egress"]],
    [policy("{policyTypes: [Ingress], egress: [{}]}"), ["Ingress"]],
    [policy("{policyTypes: []}"), []],
  ];
  for (const [object, types] of rows) t.same(object.spec.policyTypes, types);
});

t.test("a direction's rules are there exactly when it is isolated", async (t) => {
  t.same(kubernetes("{policyTypes: [Ingress], egress: [{}]}").spec, {
    podSelector: {},
    policyTypes: ["Ingress"],
    ingress: [],
  });
  t.same(policy("{egress: []}").spec, { podSelector: {}, policyTypes: ["Egress"], egress: [] });
});

t.test("a Kubernetes spec may be absent, and null fields are absent fields", async (t) => {
  const object = only(
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a.b, namespace: x, creationTimestamp: null}\nstatus: {}\n",
  );
  t.same(object, {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "a.b", namespace: "x" },
    spec: { podSelector: {}, policyTypes: ["Ingress"], ingress: [] },
  });
  t.same(kubernetes("{podSelector: , ingress: [{from: null, ports: null}], policyTypes: null}").spec.ingress, [{}]);
});

t.test("what a Kubernetes server fills in is accepted and dropped", async (t) => {
  const object = only(`
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: p
  namespace: x
  labels: {a: b}
  annotations:
    note: kept
    kubectl.kubernetes.io/last-applied-configuration: |
      {"apiVersion":"networking.k8s.io/v1"}
  creationTimestamp: "2026-01-01T00:00:00Z"
  uid: 3f0f
  resourceVersion: "123"
  generation: 1
  managedFields: [{manager: kubectl, operation: Apply}]
  ownerReferences: [{kind: A}]
  finalizers: [x]
spec: {podSelector: {}}
status: {}
`);
  t.same(object.metadata, { name: "p", namespace: "x", labels: { a: "b" }, annotations: { note: "kept" } });
});

t.test("equal meaning, equal form", async (t) => {
  const pairs: readonly (readonly [NetworkPolicy, NetworkPolicy])[] = [
    [policy("{egress: [{to: {podSelector: {}}}]}"), policy("{egress: [{to: [{podSelector: {matchLabels: {}}}]}]}")],
    [policy("{ingress: [{from: [], ports: []}]}"), policy("{ingress: [{}]}")],
    [policy("{ingress: [], mode: {ingress: audit}}"), policy("{ingress: [], mode: audit}")],
    [policy("{ingress: [], mode: {ingress: audit, egress: enforce}}"), policy("{ingress: [], mode: audit}")],
    [policy("{ingress: [], mode: {egress: audit}}"), policy("{ingress: []}")],
    [
      policy("{ingress: [], egress: [], mode: {ingress: audit, egress: audit}}"),
      policy("{ingress: [], egress: [], mode: audit}"),
    ],
    [
      policy("{ingress: [{ports: [{port: 80}]}]}"),
      policy("{ingress: [{ports: [{protocol: TCP, port: 80, endPort: 80}]}]}"),
    ],
    [
      policy(
        '{ingress: [{from: {ipBlock: {cidr: "FD77:0::/32", except: ["fd77:0:2::/48", "fd77:0:1::/48", "fd77:0:1::/48"]}}}]}',
      ),
      policy('{ingress: [{from: [{ipBlock: {cidr: "fd77::/32", except: ["fd77:0:1::/48", "fd77:0:2::/48"]}}]}]}'),
    ],
    [
      policy(
        "{ingress: [], podSelector: {matchExpressions: [{key: b, operator: Exists, values: []}, {key: a, operator: In, values: [y, x, y]}]}}",
      ),
      policy(
        "{ingress: [], podSelector: {matchExpressions: [{key: a, operator: In, values: [x, y]}, {key: b, operator: Exists}]}}",
      ),
    ],
  ];
  for (const [a, b] of pairs) t.same(a, b);
});

t.test("nodes and workloads: defaults and canonical addresses", async (t) => {
  const node = (spec: string): ZtapObject =>
    only(`apiVersion: ztap/v1\nkind: Node\nmetadata: {name: n}\nspec: ${spec}\n`);
  t.same(node('{address: "[FD77:0::1]:9470"}'), {
    apiVersion: "ztap/v1",
    kind: "Node",
    metadata: { name: "n" },
    spec: { address: "[fd77::1]:9470", addresses: ["fd77::1"] },
  });
  t.same(node("{address: Web.Example:1}"), {
    apiVersion: "ztap/v1",
    kind: "Node",
    metadata: { name: "n" },
    spec: { address: "web.example:1", addresses: [] },
  });
  t.same(
    only(
      "apiVersion: ztap/v1\nkind: Workload\nmetadata: {name: w, labels: {b: x, a: y}}\nspec: {node: n, cgroup: a, addresses: [10.0.0.2, 10.0.0.1], ports: [{port: 1}]}\n",
    ),
    {
      apiVersion: "ztap/v1",
      kind: "Workload",
      metadata: { name: "w", namespace: "default", labels: { a: "y", b: "x" } },
      spec: { node: "n", cgroup: "a", addresses: ["10.0.0.1", "10.0.0.2"], ports: [{ port: 1, protocol: "TCP" }] },
    },
  );
});

t.test("positions: the first key of the document, and each rule", async (t) => {
  const text =
    "# c\n---\n# d\napiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n  ingress:\n    - {}\n    -\n      ports: []\n  egress: [\n    {}]\n";
  const quick = [...read(text).objects.values()][0]?.position;
  t.same(quick, { file: "a.yaml", line: 4, rules: { ingress: [9, 11], egress: [13] } });
  // An anchor sends the file through the other parser, which must place everything alike.
  t.same([...read(text.replace("name: p", "name: &a p")).objects.values()][0]?.position, quick);
});

t.test("a List's items, and names of Object.prototype as labels", async (t) => {
  const { objects, diagnostics } = read(
    "apiVersion: v1\nkind: List\nitems:\n- apiVersion: ztap/v1\n  kind: Workload\n  metadata: {name: w, labels: {constructor: a, toString: b}}\n  spec: {addresses: [10.0.0.1]}\n",
  );
  t.same(diagnostics, []);
  t.equal(objects.get("Workload/default/w")?.position?.line, 4);
  t.same(objects.get("Workload/default/w")?.object.metadata.labels, { constructor: "a", toString: "b" });
});

t.test("the cache answers for an unchanged file, and for no other", async (t) => {
  const cache = createManifestCache(2);
  const file = (path: string, blobId: string, name: string) => ({
    path,
    blobId,
    text: `apiVersion: ztap/v1\nkind: Namespace\nmetadata: {name: ${name}}\n`,
  });
  const names = (...files: readonly ReturnType<typeof file>[]): readonly string[] => [
    ...readManifests(files, { cache }).objects.keys(),
  ];
  t.same(names(file("a", "1", "x")), ["Namespace//x"]);
  t.same(names(file("a", "1", "changed")), ["Namespace//x"], "the same blob is not parsed again");
  t.same(names(file("a", "2", "y")), ["Namespace//y"]);
  t.same(names(file("b", "2", "z"), file("c", "2", "v")), ["Namespace//v", "Namespace//z"]);
  t.same(names(file("a", "2", "w")), ["Namespace//w"], "a was dropped for b and c");
});
