/** NetworkSets: their canonical form, the files that they name, and the objects that name them. */
import fc from "fast-check";
import { containsCidr } from "cidr-tools";
import t from "tap";
import type { Diagnostic } from "../../src/model/diagnostic.js";
import { countCidrs, SET_LIMIT, subtractCidrs } from "../../src/manifest/document/address.js";
import { EBPF_CAPACITY } from "../../src/adapters/ebpf/lower/capacity.js";
import { PF_CAPACITY } from "../../src/adapters/pf/render/limits.js";
import { readManifests } from "../../src/manifest/read.js";
import { readBoundedManifests } from "../../src/wiring/manifests.js";
import { workload } from "../builders/documents.js";
import { volume } from "../volume.js";

type Files = Readonly<Record<string, string>>;

const filesOf = (texts: Files) => Object.entries(texts).map(([path, text]) => ({ path, text, blobId: path }));

const read = (texts: Files) => readManifests(filesOf(texts));

const lines = (diagnostics: readonly Diagnostic[]) =>
  diagnostics.map(({ code, file, line, column, path }) => `${code} ${file}:${line}:${column} ${path}`.trim());

const set = (spec: string, name = "s"): string =>
  `apiVersion: ztap/v1\nkind: NetworkSet\nmetadata: {name: ${name}}\nspec: ${spec}\n`;

/** The CIDRs of the set that a text declares. */
function cidrsOf(spec: string, others: Files = {}): readonly string[] | undefined {
  const { objects } = read({ "a/sets.yaml": set(spec), ...others });
  const object = objects.get("NetworkSet//s")?.object;
  return object?.kind === "NetworkSet" ? object.spec.cidrs : undefined;
}

t.test("a set has one canonical form, however it is written", async (t) => {
  const canonical = ["192.0.2.0/24", "2001:db8::/32"];
  for (const [how, spec] of [
    ["as it is", '{cidrs: [192.0.2.0/24, "2001:db8::/32"]}'],
    ["in another order, twice", '{cidrs: ["2001:DB8:0::/32", 192.0.2.0/24, 192.0.2.0/24]}'],
    ["in halves and overlapping", '{cidrs: [192.0.2.0/25, 192.0.2.128/25, 192.0.2.7/32, "2001:db8::/32"]}'],
    ["in hexadecimal IPv6 form", '{cidrs: ["::ffff:c000:200/120", "2001:db8::/32"]}'],
    ["in IPv6 form", '{cidrs: ["::ffff:192.0.2.0/120", "2001:db8::/32"]}'],
    ["with exceptions", '{cidrs: [192.0.2.0/23, "2001:db8::/32"], except: ["::ffff:192.0.3.0/120", 10.0.0.0/8]}'],
    ["with a wider exception", '{cidrs: [192.0.2.0/24, 10.1.0.0/16, "2001:db8::/32"], except: [10.0.0.0/8]}'],
    ["from a file", "{file: list.cidrs}"],
    ["from a file and here", '{cidrs: ["2001:db8::/32"], file: ../b/half.cidrs}'],
  ] as const) {
    const files = {
      "a/list.cidrs": "# Both.\n192.0.2.0/24 # the first\r\n\n   2001:db8::/32\n",
      "b/half.cidrs": "192.0.2.0/24",
    };
    t.same(cidrsOf(spec, files), canonical, how);
  }
  t.same(cidrsOf("{cidrs: []}"), []);
});

t.test("a canonical set is a document again, and keeps its digest", async (t) => {
  const { objects } = read({ "s.yaml": set("{cidrs: [10.0.0.0/8], except: [10.1.2.3/32]}") });
  const first = objects.get("NetworkSet//s");
  const again = read({ "s.yaml": JSON.stringify(first?.object) }).objects.get("NetworkSet//s");
  t.equal(again?.digest, first?.digest);
  t.ok(first);
});

t.test("the canonical form has exactly the addresses that were meant, and the fewest CIDRs", async (t) => {
  const cidr = fc
    .tuple(fc.integer({ min: 24, max: 32 }), fc.nat(255))
    .map(([bits, last]) => `10.0.0.${last - (last % 2 ** (32 - bits))}/${bits}`);
  const cidrs = fc.array(cidr, { maxLength: 8 });
  const has = (list: readonly string[], address: string) => list.some((one) => containsCidr(one, address));
  fc.assert(
    fc.property(cidrs, cidrs, fc.nat(255), (blocks, excepts, last) => {
      const result = subtractCidrs(blocks, excepts);
      const address = `10.0.0.${last}`;
      t.equal(has(result, address), has(blocks, address) && !has(excepts, address));
      t.equal(countCidrs(blocks, excepts), result.length);
      t.same(subtractCidrs(result, []), result);
    }),
    { numRuns: volume(300, 5_000) },
  );
});

t.test("each mistake in a set, or in its file, has its own position", async (t) => {
  const files = { "a/bad.cidrs": "192.0.2.0/24\n  192.0.2.1/24\nexample.org # a name\n1.2.3.0/24 5.6.7.0/24\n" };
  const rows: readonly (readonly [spec: string, expected: readonly string[]])[] = [
    ["{}", ["ZT2004 a/sets.yaml:4:1 spec"]],
    ["{cidrs: [10.0.0.1/8]}", ["ZT3006 a/sets.yaml:4:16 spec.cidrs[0]"]],
    ["{cidrs: [], except: [10.0.0.1]}", ["ZT3005 a/sets.yaml:4:28 spec.except[0]"]],
    ['{cidrs: ["::ffff:10.0.0.1/104"]}', ["ZT3006 a/sets.yaml:4:16 spec.cidrs[0]"]],
    ['{cidrs: ["::ffff:0:0/90"]}', ["ZT3021 a/sets.yaml:4:16 spec.cidrs[0]"]],
    ["{file: none.cidrs}", ["ZT3027 a/sets.yaml:4:14 spec.file"]],
    ["{file: /etc/x.cidrs}", ["ZT3027 a/sets.yaml:4:14 spec.file"]],
    ["{file: ../../x.cidrs}", ["ZT3027 a/sets.yaml:4:14 spec.file"]],
    ["{file: list.txt}", ["ZT3027 a/sets.yaml:4:14 spec.file"]],
    ["{file: bad.cidrs}", ["ZT3006 a/bad.cidrs:2:3", "ZT3005 a/bad.cidrs:3:1", "ZT3005 a/bad.cidrs:4:1"]],
  ];
  for (const [spec, expected] of rows) {
    const { diagnostics, objects } = read({ "a/sets.yaml": set(spec), ...files });
    t.same(lines(diagnostics), expected, spec);
    t.equal(objects.size, 0, spec);
  }
  t.same(lines(read({ "a/sets.yaml": set("{cidrs: [10.0.0.0/8]}"), ...files }).diagnostics), [], "an unnamed file");
  const twice = read({ "a/sets.yaml": `${set("{file: bad.cidrs}")}---\n${set("{file: bad.cidrs}", "b")}`, ...files });
  t.equal(twice.diagnostics.length, 3, "a file of two sets is reported once");
});

t.test("a file says nothing in comments that a reviewer would not see", async (t) => {
  const { diagnostics } = read({
    "s.yaml": set("{file: a.cidrs}"),
    "a.cidrs": "10.0.0.0/8 # \u202e\n# a\u2028\n% b\n",
  });
  t.same(lines(diagnostics), ["ZT1009 a.cidrs:1:14", "ZT1009 a.cidrs:2:4", "ZT3005 a.cidrs:3:1"]);
});

t.test("a file that is not read is the set's problem, and only where a set names it", async (t) => {
  const large = {
    path: "a.cidrs",
    text: "",
    blobId: "",
    unread: { reason: "too-large", message: "the file has 9 MiB" },
  } as const;
  const [named, unnamed] = ["{file: a.cidrs}", "{cidrs: [10.0.0.0/8]}"].map((spec) =>
    readManifests([...filesOf({ "s.yaml": set(spec) }), large]),
  );
  t.match(named?.diagnostics, [{ code: "ZT3027", file: "s.yaml", message: /the file has 9 MiB/ }]);
  t.same(unnamed?.diagnostics, []);
});

t.test("peers of ztap/v1 name sets, each alone in its peer; Kubernetes' policies do not", async (t) => {
  const policy = (peer: string, api = "ztap/v1") =>
    `apiVersion: ${api}\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {podSelector: {}, egress: [{to: [\n  ${peer}]}]}\n---\n${workload("{addresses: [192.0.2.1]}")}---\n${set("{cidrs: [10.0.0.0/8]}")}`;
  const at = (path: string) => `spec.egress[0].to[0]${path}`;
  for (const [peer, expected] of [
    ["{networkSet: s}", []],
    ["{networkSetSelector: {}}", []],
    ["{networkSet: t}", [`ZT4008 p.yaml:5:16 ${at(".networkSet")}`]],
    ["{networkSetSelector: {matchLabels: {a: b}}}", [`ZT5003 p.yaml:5:3 ${at("")}`]],
    ["{networkSet: s, podSelector: {}}", [`ZT3026 p.yaml:5:4 ${at(".networkSet")}`]],
    ["{ipBlock: {cidr: 10.0.0.0/8}, networkSet: s}", [`ZT3026 p.yaml:5:33 ${at(".networkSet")}`]],
    ["{networkSet: s, networkSetSelector: {}}", [`ZT3026 p.yaml:5:19 ${at(".networkSetSelector")}`]],
    ["{networkSetSelector: {matchLables: {}}}", [`ZT2003 p.yaml:5:25 ${at(".networkSetSelector.matchLables")}`]],
    ["{networkset: s}", [`ZT2003 p.yaml:5:4 ${at(".networkset")}`]],
    ["{networkSet: S}", [`ZT3001 p.yaml:5:16 ${at(".networkSet")}`]],
  ] as const) {
    t.same(lines(read({ "p.yaml": policy(peer) }).diagnostics), expected, peer);
  }
  const kubernetes = read({ "p.yaml": policy("{networkSet: s}", "networking.k8s.io/v1") });
  t.match(kubernetes.diagnostics, [{ code: "ZT2007", message: /networkSet is a field of ztap\/v1/ }]);
  const alone = policy("{networkSet: s}").split("---\n").slice(0, 2).join("---\n");
  t.match(read({ "p.yaml": alone }).diagnostics, [
    { code: "ZT5003", severity: "warning", message: /no NetworkSet: none is declared/ },
  ]);
  const misspelt = read({ "p.yaml": policy("{networkSet: sz}") }).diagnostics;
  t.match(misspelt, [{ code: "ZT4008", fix: "did you mean s?" }]);
});

t.test("an empty set, and a port name towards sets only, are warnings; a test may name a set", async (t) => {
  const objects = (rule: string) =>
    `apiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {egress: [${rule}]}\n---\n${workload("{addresses: [192.0.2.1]}")}---\n`;
  const named = `${objects("{to: {networkSet: s}, ports: [{port: http}]}")}${set("{cidrs: [10.0.0.0/8]}")}`;
  t.match(read({ "p.yaml": named }).diagnostics, [{ code: "ZT5010", message: /blocks or NetworkSets/ }]);
  const empty = `${objects("{to: {networkSet: s}}")}${set("{cidrs: [10.0.0.0/8], except: [0.0.0.0/0]}")}`;
  t.match(read({ "p.yaml": empty }).diagnostics, [{ code: "ZT5014", path: "spec" }]);
  const test = `---\napiVersion: ztap/v1\nkind: ConnectivityTest\nmetadata: {name: t}\nspec: {deny: [{from: {podSelector: {}}, to: {networkSet: s}}]}\n`;
  const open = `${objects("{to: {networkSet: s}}")}${set("{cidrs: [10.0.0.0/8]}")}${test}`;
  t.match(read({ "p.yaml": open }).diagnostics, [{ code: "ZT4007", message: /w → 10\.0\.0\.0 .* is allowed/ }]);
  const closed = open.replace("{to: {networkSet: s}}", "{to: {podSelector: {}}}");
  t.same(lines(read({ "p.yaml": closed }).diagnostics), []);
  const between = open.replace("{podSelector: {}}, to", "{networkSetSelector: {}}, to");
  t.match(read({ "p.yaml": between }).diagnostics, [{ code: "ZT3023" }], "two sets have no workload");
});

/** Blocks that do not join: every second /24. */
const apart = (count: number) =>
  Array.from({ length: count }, (_, index) => `${1 + (index >> 15)}.${(index >> 7) & 255}.${(index & 127) * 2}.0/24`);

t.test("a set may have as many CIDRs as the limit, read twice and tested, and no more", async (t) => {
  const state = (count: number, spec = "{file: big.cidrs}") => ({
    "s.yaml": `${set(spec)}---\n${workload("{node: n, cgroup: w, addresses: [192.0.2.1]}")}---\napiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {egress: [{to: {networkSet: s}, ports: [{port: 443}]}]}\n---\napiVersion: ztap/v1\nkind: ConnectivityTest\nmetadata: {name: t}\nspec: {allow: [{from: {podSelector: {}}, to: {networkSet: s}, ports: [{port: 443}]}]}\n`,
    "big.cidrs": apart(count).join("\n"),
  });
  const { diagnostics, objects } = readBoundedManifests(filesOf(state(SET_LIMIT)));
  t.same(lines(diagnostics), []);
  const stored = [...objects.values()].map(({ object }, index) => [`${index}.yaml`, JSON.stringify(object)] as const);
  t.same(lines(readBoundedManifests(filesOf(Object.fromEntries(stored))).diagnostics), [], "as the store has them");
  t.match(read(state(SET_LIMIT + 1)).diagnostics, [{ code: "ZT3028", file: "big.cidrs", line: SET_LIMIT + 1 }]);
  const more = read(state(SET_LIMIT, "{file: big.cidrs, cidrs: [10.0.0.0/8]}"));
  t.match(more.diagnostics, [{ code: "ZT3028", path: "spec.cidrs", message: /131073 CIDRs/ }]);
  const pieces = read(state(2_000, '{file: big.cidrs, cidrs: ["::/0"], except: [1.2.0.0/16]}')).diagnostics;
  t.same(lines(pieces), []);
  const spread = Array.from({ length: 1_300 }, (_, index) => `"${((index * 40_503) % 65_536).toString(16)}::1/128"`);
  const exploded = read({ "s.yaml": set(`{cidrs: ["::/0"], except: [${spread.join(", ")}]}`) });
  t.match(exploded.diagnostics, [{ code: "ZT3028", path: "spec.except", message: /takes \d+ CIDRs/ }]);
});

t.test("one file named again and again does not take more than its bound", async (t) => {
  const sets = (count: number) =>
    Array.from({ length: count }, (_, index) => set("{file: big.cidrs}", `s${index}`)).join("---\n");
  const big = Array.from({ length: SET_LIMIT }, () => "10.0.0.0/8").join("\n");
  t.same(lines(read({ "s.yaml": sets(8), "big.cidrs": big }).diagnostics), []);
  t.match(read({ "s.yaml": sets(9), "big.cidrs": big }).diagnostics, [
    { code: "ZT3028", line: 44, path: "spec.file", message: /more than 1048576 CIDRs/ },
  ]);
});

t.test("what a node's tables cannot hold is refused when it is validated, at the rule", async (t) => {
  const state = {
    "s.yaml": [
      set("{file: big.cidrs}"),
      ...["a", "b"].flatMap((name) => [
        `apiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: {name: ${name}}\nspec: {podSelector: {matchLabels: {n: ${name}}}, egress: [{to: {networkSet: s}}]}\n`,
        `apiVersion: ztap/v1\nkind: Workload\nmetadata: {name: ${name}, labels: {n: ${name}}}\nspec: {node: n, cgroup: ${name}}\n`,
      ]),
    ].join("---\n"),
    "big.cidrs": apart(600).join("\n"),
  };
  const withRoom = (addresses: number) => {
    const capacity = { ...EBPF_CAPACITY, limit: { addresses, ports: 100 } };
    return readManifests(filesOf(state), { capacities: { ebpf: capacity, pf: PF_CAPACITY } }).diagnostics;
  };
  t.match(withRoom(1_000), [{ code: "ZT4005", path: "spec.egress[0]", message: /1000 address entries/ }]);
  t.same(lines(withRoom(1_210)), [], "each profile holds the set");
});
