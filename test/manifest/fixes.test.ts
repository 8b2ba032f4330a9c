/** What a diagnostic proposes where a newcomer's mistake is told apart from its symptom. */
import t from "tap";
import { readManifests } from "../../src/manifest/read.js";

const policy = (apiVersion: string, spec: string): string =>
  `apiVersion: ${apiVersion}\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: ${spec}\n`;
const ztap = (spec: string): string => policy("ztap/v1", spec);
const kubernetes = (spec: string): string => policy("networking.k8s.io/v1", spec);

t.test("for a wrongly indented field the fix shows its place", async (t) => {
  const fixes = (text: string): readonly (string | undefined)[] =>
    readManifests([{ path: "a", text, blobId: "a" }])
      .diagnostics.filter(({ severity }) => severity === "error")
      .map(({ fix }) => fix);
  t.same(fixes(ztap("\n  podSelector:\n  matchLabels: {a: b}")), ["indent it below podSelector:"]);
  t.same(fixes(ztap("\n  matchLabels: {a: b}")), ["write podSelector: and put matchLabels below it"]);
  t.same(fixes(ztap("\n  podSelector:\n    app: web\n    tier: x")), ["write matchLabels: and put app, tier below it"]);
  t.same(fixes(ztap("\n  podSelector:\n    matchLabels:\n    app: web")), ["indent it below matchLabels:"]);
  t.same(fixes(kubernetes("\n  ingress:\n  - from:\n  - podSelector: {}")), [
    "indent this item below from: of the item before",
  ]);
  t.same(fixes(ztap("\n  ingress:\n  - ports:\n    - protocol: TCP\n    port: 80")), [
    'indent it below ports, in an item of its list ("- ")',
  ]);
  t.same(
    fixes(ztap("\n  ingress:\n  - port: 80")),
    ["did you mean ports?"],
    "nothing is there that it could belong below",
  );
  t.same(fixes(ztap("\n  podSelectr:\n  ingress: []")), ["did you mean podSelector?"]);
});

t.test("invalid YAML is refused with a fix", async (t) => {
  const rows: readonly (readonly [text: string, fix: string])[] = [
    ["a:\n\tb: 1\n", "indent with spaces in place of tabs"],
    ["kind NetworkPolicy\na: b\n", "write a colon and a space after the name: kind: NetworkPolicy"],
    ["a: b\nkind:Node\n", "write a space after the colon: kind: Node"],
    ["a: b\nc\n", "write a colon and a space after the name: c:"],
    ['a: 1\nb: "x\nc: 1\n', 'close the " of line 2 with "'],
    ["a: 'x\nb: 1\n", "close the ' of line 1 with '"],
    ["a: [1, 2\nb: 1\n", "close the [ of line 1 with ]"],
    ["a: [{x: 1\nb: 1\n", "close the { of line 1 with }"],
    ["a: [1]]\n", "remove the ], or add the opening bracket"],
    ["a:\n    b: 1\n  c: 2\n", "begin the fields of a mapping, and the items of a list, in one column"],
    ["- a\nb: 1\n", "begin the fields of a mapping, and the items of a list, in one column"],
    [
      "a: 1\n  b: 2\n",
      "begin the next line in the column of the field above it: a field with a value cannot contain fields",
    ],
    ["a: x: y\n", "put the value in quotes if it holds a colon; else begin each field on a line of its own"],
    ['a: "x" y\n', "put the whole value in one pair of quotes"],
    ["a: @x\n", "put the value in quotes"],
    ['a: "\\q"\n', "write \\\\ for a backslash, or use single quotes"],
  ];
  for (const [text, fix] of rows) {
    const { diagnostics } = readManifests([{ path: "a", text, blobId: "a" }]);
    t.match(diagnostics, [{ code: "ZT1001", fix }], JSON.stringify(text));
  }
});

t.test("what looks like a pattern or another spelling is refused with the way out", async (t) => {
  const first = (text: string) => readManifests([{ path: "a", text, blobId: "a" }]).diagnostics[0];
  for (const cgroup of ["a/web-*", "a/w?", "a/worker@[12].service", "a]"]) {
    const text = `apiVersion: ztap/v1\nkind: Workload\nmetadata: {name: w}\nspec: {node: n, cgroup: "${cgroup}"}\n`;
    const place = { file: "a", line: 4, column: 25, path: "spec.cgroup" };
    t.match(first(text), { code: "ZT3018", ...place, fix: /^name one cgroup/ }, cgroup);
  }
  for (const mapped of ["::ffff:10.0.0.0/104", "::ffff:a00:0/104"])
    t.equal(first(ztap(`{egress: [{to: {ipBlock: {cidr: "${mapped}"}}}]}`))?.fix, "write 10.0.0.0/8", mapped);
});
