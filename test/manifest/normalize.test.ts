/** Canonical form: defaults, short forms, positions, and the cache. */
import { readFileSync } from "node:fs";
import t from "tap";
import { KUBERNETES_POLICY, type Shape } from "../../src/manifest/document/nulls.js";
import type { NetworkPolicy, ZtapObject } from "../../src/model/objects.js";
import { readManifests, type Manifests } from "../../src/manifest/read.js";

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

t.test("a direction has rules if and only if it is isolated", async (t) => {
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

t.test("a null in a Kubernetes policy has the API server's meaning, and never selects more", async (t) => {
  const empty = { matchLabels: { app: "" } };
  const rows: readonly (readonly [text: string, meaning: unknown])[] = [
    ["{podSelector: {matchLabels: {app: }}}", { podSelector: empty }],
    ["{podSelector: {matchLabels: {app: null}}}", { podSelector: empty }],
    ["{podSelector: {matchLabels: {app: ~}}}", { podSelector: empty }],
    ["{podSelector: {matchLabels: {app: Null, tier: x}}}", { podSelector: { matchLabels: { app: "", tier: "x" } } }],
    ["{podSelector: {matchLabels: {app}}}", { podSelector: empty }],
    ["\n  podSelector:\n    matchLabels:\n      app:", { podSelector: empty }],
    ["\n  podSelector:\n    matchLabels:\n      ? app", { podSelector: empty }],
    ["{podSelector: {matchLabels: {app: &a , tier: *a}}}", { podSelector: { matchLabels: { app: "", tier: "" } } }],
    ["{podSelector: {matchLabels: {app: !!null }}}", { podSelector: empty }],
    [
      "{podSelector: {matchExpressions: [{key: a, operator: In, values: [null, x]}]}}",
      { podSelector: { matchExpressions: [{ key: "a", operator: "In", values: ["", "x"] }] } },
    ],
    [
      "{podSelector: {matchExpressions: [{key: a, operator: Exists, values: }]}}",
      { podSelector: { matchExpressions: [{ key: "a", operator: "Exists" }] } },
    ],
    ["{ingress: [{from: [{podSelector: {matchLabels: {app: }}}]}]}", { ingress: [{ from: [{ podSelector: empty }] }] }],
    [
      "{ingress: [{from: [{namespaceSelector: {matchLabels: {app: }}}]}]}",
      { ingress: [{ from: [{ namespaceSelector: empty }] }] },
    ],
    [
      "{ingress: [{from: [{podSelector: , namespaceSelector: {}}]}]}",
      { ingress: [{ from: [{ namespaceSelector: {} }] }] },
    ],
    [
      "{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: }, podSelector: }]}]}",
      { ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/8" } }] }] },
    ],
    [
      "{ingress: [{ports: [{port: 80, protocol: , endPort: }]}]}",
      { ingress: [{ ports: [{ protocol: "TCP", port: 80 }] }] },
    ],
    ["{ingress: , egress: , policyTypes: }", { policyTypes: ["Ingress"], ingress: [] }],
  ];
  for (const [text, meaning] of rows) t.match(kubernetes(text).spec, meaning, text);
  const labelled = only(
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: , labels: {a: }, annotations: {b: }}\nspec: \n",
  );
  t.same(labelled.metadata, { name: "p", namespace: "default", labels: { a: "" }, annotations: { b: "" } });

  const refused: readonly (readonly [text: string, code: string])[] = [
    ["{ingress: [null]}", "ZT2005"],
    ["{ingress: [{from: [null]}]}", "ZT2005"],
    ["{ingress: [{from: [{podSelector: null}]}]}", "ZT3015"],
    ["{ingress: [{from: [{ipBlock: null}]}]}", "ZT3015"],
    ["{ingress: [{from: [{ipBlock: {cidr: }}]}]}", "ZT2004"],
    ["{ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [null]}}]}]}", "ZT2005"],
    ["{ingress: [{ports: [null]}]}", "ZT2005"],
    ["{policyTypes: [null]}", "ZT2006"],
    ["{podSelector: {matchExpressions: [null]}}", "ZT2005"],
    ["{podSelector: {matchExpressions: [{key: , operator: Exists}]}}", "ZT2004"],
    ["{podSelector: {matchExpressions: [{key: a, operator: }]}}", "ZT2004"],
    ["{podSelector: {matchLabels: !!set {app}}}", "ZT1005"],
    ["{podSelector: {matchLabels: {__proto__: }}}", "ZT3002"],
    ["{podSelector: {matchLabels: {<<: }}}", "ZT3002"],
    ["{__proto__: {podSelector: {}}}", "ZT2003"],
    ["{podSelectr: }", "ZT2003"],
  ];
  for (const [spec, code] of refused) {
    const text = `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: ${spec}\n`;
    const { objects, diagnostics } = read(text);
    t.same([objects.size, diagnostics[0]?.code], [0, code], spec);
  }
  for (const [spec] of [...rows.filter(([text]) => /null|~|: [,}]/i.test(text)), ...refused]) {
    const { objects } = read(`apiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: ${spec}\n`);
    t.equal(objects.size, 0, `ztap/v1 refuses ${spec}`);
  }
});

interface SchemaNode {
  readonly $ref?: string;
  readonly properties?: Readonly<Record<string, SchemaNode>>;
  readonly items?: SchemaNode;
}

t.test("the table of null fields agrees with the schema", async (t) => {
  const url = new URL("../../../schemas/network-policy.schema.json", import.meta.url);
  const { $defs } = JSON.parse(readFileSync(url, "utf8")) as { readonly $defs: Readonly<Record<string, SchemaNode>> };
  const resolve = (node: SchemaNode = {}): SchemaNode =>
    node.$ref?.startsWith("#/$defs/") === true ? resolve($defs[node.$ref.slice(8)]) : node;
  const compare = (shape: Shape, node: SchemaNode | undefined, path: string): void => {
    const { properties = {}, items } = resolve(node);
    if (shape.is === "list") compare(shape.of, items, `${path}[]`);
    if (shape.is !== "mapping") return;
    t.same(Object.keys(shape.fields).sort(), Object.keys(properties).sort(), path);
    for (const [key, field] of Object.entries(shape.fields)) compare(field.shape, properties[key], `${path}.${key}`);
  };
  compare(KUBERNETES_POLICY, $defs["KubernetesNetworkPolicy"], "");
});

t.test("fields that a Kubernetes server fills in are accepted and dropped", async (t) => {
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

t.test("equal meaning gives an equal canonical form", async (t) => {
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
