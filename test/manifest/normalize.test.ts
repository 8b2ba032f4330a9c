/** Canonical form: defaults, short forms, and the laws that hold for every object. */
import { existsSync, readFileSync } from "node:fs";
import fc from "fast-check";
import t from "tap";
import { stringify } from "yaml";
import { canonicalJson, digestOf } from "../../src/model/digest.js";
import type { NetworkPolicy, ZtapObject } from "../../src/model/objects.js";
import { readPlain } from "../../src/manifest/plain.js";
import { offsetOf, parseYaml } from "../../src/manifest/yaml.js";
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
    [policy("{ingress: [], mode: enforce}"), policy("{ingress: []}")],
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

// Builders of what an author may write, short forms included.
const name = fc.constantFrom("a", "b", "web-1");
const labels = fc.dictionary(
  fc.constantFrom("app", "tier", "example.net/role", "constructor"),
  fc.constantFrom("", "x", "Y_1.z"),
);
const requirement = fc.oneof(
  fc.record({
    key: name,
    operator: fc.constantFrom("In", "NotIn"),
    values: fc.array(fc.constantFrom("x", "y", ""), { minLength: 1, maxLength: 3 }),
  }),
  fc.record({ key: name, operator: fc.constantFrom("Exists", "DoesNotExist") }),
);
const selector = fc.record(
  { matchLabels: labels, matchExpressions: fc.array(requirement, { maxLength: 3 }) },
  { requiredKeys: [] },
);
const block = fc.constantFrom(
  { cidr: "10.0.0.0/8", except: ["10.2.0.0/16", "10.1.0.0/16"] },
  { cidr: "FD77:0::/32", except: [] },
  { cidr: "::/0", except: ["2001:DB8::/32"] },
  { cidr: "192.0.2.1/32" },
);
const peer = fc.oneof(
  fc.record({ ipBlock: block }),
  fc.record({ podSelector: selector }),
  fc.record({ namespaceSelector: selector }, {}),
  fc.record({ podSelector: selector, namespaceSelector: selector }),
);
const numbered = fc.record(
  {
    protocol: fc.constantFrom("TCP", "UDP", "SCTP"),
    port: fc.integer({ min: 1, max: 100 }),
    endPort: fc.integer({ min: 100, max: 200 }),
  },
  { requiredKeys: ["port"] },
);
const kubernetesPort = fc.oneof(numbered, fc.record({ port: fc.constantFrom("http", "a-1") }), fc.constant({}));
const ztapPort = fc.oneof(
  kubernetesPort,
  fc.constantFrom<object>({ protocol: "ICMP" }, { protocol: "ICMP", type: 3 }, { protocol: "ICMP", type: 3, code: 0 }),
);
const metadata = fc.record({ name, namespace: name, labels, annotations: labels }, { requiredKeys: ["name"] });
const types = fc.subarray(["Egress", "Ingress"]);
const rules = (key: "from" | "to", port: fc.Arbitrary<object>, peers: fc.Arbitrary<unknown>) =>
  fc.array(fc.record({ [key]: peers, ports: fc.array(port, { maxLength: 3 }) }, { requiredKeys: [] }), {
    maxLength: 3,
  });
const peerList = fc.array(peer, { maxLength: 3 });
const document = fc.oneof(
  fc.record({
    apiVersion: fc.constant("networking.k8s.io/v1"),
    kind: fc.constant("NetworkPolicy"),
    metadata,
    spec: fc.record(
      {
        podSelector: selector,
        policyTypes: types,
        ingress: rules("from", kubernetesPort, peerList),
        egress: rules("to", kubernetesPort, peerList),
      },
      { requiredKeys: [] },
    ),
  }),
  fc.record({
    apiVersion: fc.constant("ztap/v1"),
    kind: fc.constant("NetworkPolicy"),
    metadata,
    spec: fc.record(
      {
        podSelector: selector,
        policyTypes: types,
        mode: fc.constantFrom("audit", "enforce"),
        ingress: rules("from", ztapPort, fc.oneof(peer, peerList)),
        egress: rules("to", ztapPort, fc.oneof(peer, peerList)),
      },
      { requiredKeys: [] },
    ),
  }),
  fc.record({
    apiVersion: fc.constant("ztap/v1"),
    kind: fc.constant("Workload"),
    metadata,
    spec: fc.record(
      {
        node: name,
        cgroup: fc.constantFrom("a", "a.slice/b"),
        addresses: fc.subarray(["10.0.0.2", "10.0.0.1", "FD77::1"]),
        ports: fc.constantFrom(
          [],
          [
            { port: 80, name: "http" },
            { port: 53, protocol: "UDP" },
          ],
        ),
      },
      { requiredKeys: [] },
    ),
  }),
  fc.record({
    apiVersion: fc.constant("ztap/v1"),
    kind: fc.constant("Namespace"),
    metadata: fc.record({ name, labels }, { requiredKeys: ["name"] }),
  }),
  fc.record({
    apiVersion: fc.constant("ztap/v1"),
    kind: fc.constant("Node"),
    metadata: fc.record({ name, labels }, { requiredKeys: ["name"] }),
    spec: fc.record(
      {
        address: fc.constantFrom("10.0.0.1:1", "Host:2", "[FD77::1]:3"),
        addresses: fc.subarray(["10.0.0.2", "FD77:0::2"]),
      },
      { requiredKeys: ["address"] },
    ),
  }),
);

t.test("law: a canonical object is a valid document and normalizes to itself", async (t) => {
  fc.assert(
    fc.property(document, (written) => {
      const canonical = only(stringify(written));
      const again = only(stringify(canonical));
      return digestOf(again) === digestOf(canonical);
    }),
    { numRuns: 500 },
  );
  t.pass();
});

t.test("law: both parsers give the same objects, places and lines", async (t) => {
  fc.assert(
    fc.property(document, fc.boolean(), (written, flow) => {
      const text = stringify(written, { collectionStyle: flow ? "flow" : "block" });
      // A second document with an anchor sends the whole file through the slower parser.
      const slow = `${text}---\napiVersion: ztap/v1\nkind: Namespace\nmetadata: {name: &a extra}\n`;
      const quick = [...read(text).objects.values()];
      const thorough = [...read(slow).objects.values()].filter(({ ref }) => ref.name !== "extra");
      return canonicalJson(quick) === canonicalJson(thorough);
    }),
    { numRuns: 500 },
  );
  t.pass();
});

t.test("law: no text makes the reader throw", async (t) => {
  const piece = fc.constantFrom(
    "apiVersion: ztap/v1\n",
    "kind: ",
    "Workload\n",
    "spec:\n",
    "  - ",
    "  ",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "&a ",
    "*a ",
    "!!str ",
    "---\n",
    "...\n",
    "'",
    '"',
    "|\n",
    "#",
    "\t",
    "null\n",
    "010\n",
    "? ",
    "<<: ",
    "%YAML 1.2\n",
    "\uFEFF",
    "\r\n",
    "é",
    "__proto__: 1\n",
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      const { diagnostics } = read(pieces.join(""));
      return diagnostics.every(({ line, column }) => line >= 1 && column >= 1);
    }),
    { numRuns: 2000 },
  );
  t.pass();
});

t.test("law: what the quick parser reads, the thorough one reads alike", async (t) => {
  const piece = fc.constantFrom(
    "a: ",
    "b:\n",
    "\n",
    "\n  ",
    "- ",
    "  ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    ": ",
    "x",
    "1",
    "-1",
    "0",
    "00",
    "0x1",
    "1e3",
    ".5",
    "1.0",
    "null",
    "~",
    "true",
    "Yes",
    "10.0.0.0/8",
    "fd77::1",
    "::1",
    "12:30:45",
    "2026-01-01",
    "---\n",
    "...\n",
    "'q'",
    '"\\n"',
    "#c",
    " # c\n",
    "@",
    "<<: ",
    "=",
    "é",
    "\r\n",
  );
  let read = 0;
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
      const text = pieces.join("");
      const plain = readPlain(text, true);
      if (plain === undefined) return true;
      const documents = parseYaml({ path: "a", text }).documents.filter(
        (document) => document.contents !== null && document.toJS() !== null,
      );
      if (plain.length > 0) read += 1;
      return (
        documents.every(({ errors }) => errors.length === 0) &&
        canonicalJson(plain.map(({ value }) => value)) ===
          canonicalJson(documents.map((document): unknown => document.toJS())) &&
        canonicalJson(plain.map(({ offset }) => offset)) ===
          canonicalJson(documents.map((document) => offsetOf(document, [], "value")))
      );
    }),
    { numRuns: 20_000 },
  );
  t.ok(read > 1000, `${read} texts were read both ways`);
});

const CASES = "/work/shared/cases";
t.test("the conformance data is accepted", { skip: existsSync(CASES) ? false : `${CASES} is not here` }, async (t) => {
  const policies: unknown[] = [];
  const collect = (value: unknown): void => {
    if (value === null || typeof value !== "object") return;
    if ("kind" in value && value.kind === "NetworkPolicy") policies.push(value);
    else Object.values(value).forEach(collect);
  };
  for (const file of ["k8s-e2e-netpol.json", "np-guard-connlist.json"])
    collect(JSON.parse(readFileSync(`${CASES}/${file}`, "utf8")));
  t.ok(policies.length > 100);
  const refused = policies.flatMap((document) =>
    read(stringify(document)).diagnostics.filter(({ severity }) => severity === "error"),
  );
  // Kubernetes itself refuses this name; the runner of the cases gives it another.
  t.same(
    refused.map(({ code, found }) => `${code} ${found}`),
    ['ZT3001 "use_common_labels_same_values"'],
  );
});
