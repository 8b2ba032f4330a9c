/** One text, one meaning to every reader of YAML 1.2; and time that grows with the text and no faster. */
import { randomInt } from "node:crypto";
import t from "tap";
import { hasErrors } from "../../src/model/diagnostic.js";
import { readManifests } from "../../src/manifest/read.js";
import { parseYaml } from "../../src/manifest/yaml/parse.js";
import { compareAt } from "./readers/compare.js";
import { readCorpus, Texts } from "./readers/texts.js";

const read = (text: string) => readManifests([{ path: "a.yaml", text, blobId: "a" }]);

t.test("no text of the corpus is read in two ways", async (t) => {
  const corpus = readCorpus();
  t.ok(corpus.length > 30);
  for (const { name, text } of corpus) t.doesNotThrow(() => compareAt(0, text), name);
});

const policy = (spec: string) =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n${spec}`;
const workload = (spec: string, metadata: string): string =>
  `apiVersion: ztap/v1\nkind: Workload\nmetadata: ${metadata}\nspec: ${spec}\n`;

const told = (text: string): string =>
  read(text)
    .diagnostics.map(({ code, line, column, path }) => `${code} ${line}:${column} ${path}`.trim())
    .join("\n");

/** The text, and `code line:column path` of its diagnostics. */
const DOUBTFUL: readonly (readonly [name: string, text: string, expected: string])[] = [
  ["control character in a comment", "a: 1\n# \u0007\n", "ZT1009 2:3"],
  ["NUL", "a: \u0000\n", "ZT1009 1:4"],
  ["a carriage return alone, in a comment", "# a\rb: 1\n", "ZT1009 1:4"],
  ["a carriage return at the end", "a: 1\r", "ZT1009 1:5"],
  ["line breaks of other standards", "# \u0085\n# \u2028\n# \u2029\n", "ZT1009 1:3\nZT1009 2:3\nZT1009 3:3"],
  [
    "marks that turn the direction",
    "# \u202e\n# a\u2066\n# \u061c\n# \u200f\n",
    "ZT1009 1:3\nZT1009 2:4\nZT1009 3:3\nZT1009 4:3",
  ],
  ["a byte order mark within", "a: 1\n\ufeffb: 2\n", "ZT1009 2:1"],
  ["half a character", "a: '\ud800'\n", "ZT1009 1:5"],
  [
    "a byte order mark at the beginning, CR LF and tabs in a comment are nothing",
    `\ufeff${workload("{addresses: [192.0.2.2]} # \t\r", "{name: w}")}`,
    "",
  ],
  ["escapes are nothing", workload("{addresses: [192.0.2.2]}", '{name: w, annotations: {a: "\\u202e"}}'), ""],
  ["a set", policy("  podSelector: {matchLabels: !!set {app}}\n"), "ZT1005 5:36 spec.podSelector.matchLabels"],
  [
    "a port with an underscore",
    policy("  ingress: [{ports: [{port: 8_0}]}]\n"),
    "ZT1006 5:29 spec.ingress[0].ports[0].port",
  ],
  ["a line that begins with %", "a: 1\n %b\n", "ZT1009 2:2"],
  [
    "an anchor that readers end in two places",
    policy("  podSelector: {matchLabels: &a:x {a: b}}\n"),
    "ZT1010 5:35 spec.podSelector.matchLabels",
  ],
  [
    "the same, of a text and with a question mark",
    workload("{addresses: [&a?x 192.0.2.2]}", "{name: w}"),
    "ZT1010 4:25 spec.addresses[0]",
  ],
  ["the same, of a key", workload("{&a:x addresses: [192.0.2.2]}", "{name: w}"), "ZT1010 4:13 spec"],
  [
    "the same, of nothing",
    policy("  podSelector: &a:x\n"),
    "ZT5011 5:3 spec.podSelector\nZT1010 5:20 spec.podSelector",
  ],
  ["the same, of a document", `--- &a:x\n${workload("{addresses: [192.0.2.2]}", "{name: w}")}`, "ZT1010 2:1"],
  ["an anchor of letters, digits, - and _ is nothing", workload("{addresses: [&a-B_1 192.0.2.2]}", "{name: w}"), ""],
  ["another directive", "%TAG ! tag:example.net,2026:\n---\na: 1\n", "ZT1009 1:1"],
  ["a key behind a quoted item", policy('  policyTypes:\n  - "Ingress" ingress: [{}]'), "ZT1001 6:15"],
  ["a key over 1,024 characters", `${"a".repeat(1030)}: 1\n`, "ZT1001 1:1"],
];

t.test("text that can be displayed or read in more than one way is refused at its position", async (t) => {
  for (const [name, text, expected] of DOUBTFUL) {
    t.equal(told(text), expected, name);
  }
});

/** As above: where there is a warning, and where there is none. */
const WORDS: readonly (readonly [name: string, text: string, expected: string])[] = [
  [
    "labels",
    workload("{addresses: [192.0.2.2]}", "{name: w, labels: {on: x, a: No, b: 'off', \"yes\": x, y: n}}"),
    "ZT5013 3:30 metadata.labels.on\nZT5013 3:40 metadata.labels.a",
  ],
  [
    "a selector",
    `${policy("  podSelector:\n    matchLabels: {country: NO}\n    matchExpressions:\n    - {key: off, operator: NotIn, values: [yes, no-way, !!str no]}")}\n---\n${workload("{addresses: [192.0.2.2]}", '{name: w, labels: {country: "NO"}}')}`,
    "ZT5013 6:28 spec.podSelector.matchLabels.country\nZT5013 8:13 spec.podSelector.matchExpressions[0].key\nZT5013 8:44 spec.podSelector.matchExpressions[0].values[0]",
  ],
  [
    "an item of a List, by an alias",
    "apiVersion: v1\nkind: List\nitems:\n- apiVersion: ztap/v1\n  kind: Namespace\n  metadata: {name: &n on, labels: {a: *n}}\n",
    "ZT5013 6:23 items[0].metadata.labels.a",
  ],
  [
    "no names, annotations and other fields",
    workload("{addresses: [192.0.2.2], labels: {on: yes}}", "{name: on, annotations: {on: yes}}"),
    "ZT2003 4:32 spec.labels",
  ],
];

t.test("words that YAML 1.1 reads as booleans are text; as labels they need quotes", async (t) => {
  for (const [name, text, expected] of WORDS) t.equal(told(text), expected, name);
  const { objects } = read(WORDS[0]?.[1] ?? "");
  t.match(
    [...objects.values()],
    [{ object: { metadata: { labels: { on: "x", a: "No", b: "off", yes: "x", y: "n" } } } }],
  );
});

const TEXTS = 100_000;

t.test("100,000 texts, new in each run, are read alike or refused", async (t) => {
  const seed = Number(process.env["ZTAP_FUZZ_SEED"] ?? randomInt(2 ** 31));
  t.comment(`ZTAP_FUZZ_SEED=${seed} makes these texts again`);
  const texts = new Texts();
  const counts = { accepted: 0, quick: 0 };
  for (let at = 0; at < TEXTS; at += 1) {
    const verdict = compareAt(seed + at, texts.at(seed + at));
    if (verdict.endsWith("accepted")) counts.accepted += 1;
    if (verdict.startsWith("quick")) counts.quick += 1;
  }
  // A fuzzer whose texts are all refused proves nothing.
  t.ok(counts.accepted > TEXTS / 20 && counts.quick > TEXTS / 10, JSON.stringify(counts));
});

/** Processor time in ms: that of the wall tells of other processes. */
function cost(text: string): number {
  const from = process.cpuUsage();
  read(text);
  const { user, system } = process.cpuUsage(from);
  return (user + system) / 1000;
}

const times = (count: number, line: (at: number) => string) =>
  Array.from({ length: count }, (_, at) => line(at)).join("");

/** Texts of any number of pieces, and how many make a megabyte, or are as many as a file may hold of them. */
const GROWING: readonly (readonly [name: string, pieces: number, text: (pieces: number) => string])[] = [
  ...[
    " ",
    "\t",
    "-",
    ":",
    '"',
    "'",
    "0",
    "[",
    "]",
    "{",
    "}",
    ",",
    "|",
    "&",
    "*",
    "!",
    "?",
    "#",
    "%",
    "é",
    "\u0001",
    "\r",
    "\n",
  ].map(
    (piece) =>
      [`a line of ${JSON.stringify(piece)}`, 1 << 20, (count: number) => `a: ${piece.repeat(count)}\n`] as const,
  ),
  ...["- ", ": ", "? ", "0::", "1.", '"" ', "a: b, ", "&a ", "!a ", "[],", "a: ", "' "].map(
    (piece) =>
      [`a line of ${piece}`, (1 << 20) / 2, (count: number) => piece.repeat((count * 2) / piece.length)] as const,
  ),
  ...["-\n", ":\n", "a:\n", "a: b\n", "---\n", "...\n", '"a": \n', "- [\n", "#\n", " %\n", '"\n', "a\n", "? a\n"].map(
    (piece) =>
      [`lines of ${piece}`, (1 << 20) / 2, (count: number) => piece.repeat((count * 2) / piece.length)] as const,
  ),
  ["unknown fields", 95_000, (count) => policy(times(count, (at) => `  f${at}: 1\n`))],
  [
    "unknown fields, in the thorough reader",
    60_000,
    (count) => policy(`  x: |\n   y\n${times(count, (at) => `  f${at}: 1\n`)}`),
  ],
  [
    "malformed labels",
    40_000,
    (count) => policy(`  podSelector:\n    matchLabels:\n${times(count, (at) => `      a${at}: "b c"\n`)}`),
  ],
  [
    "malformed label keys",
    40_000,
    (count) => policy(`  podSelector:\n    matchLabels:\n${times(count, (at) => `      -a${at}: b\n`)}`),
  ],
  ["null rules", 100_000, (count) => policy(`  ingress:\n${times(count, () => "  - null\n")}`)],
  [
    "except entries",
    40_000,
    (count) =>
      policy(
        `  ingress:\n  - from:\n    - ipBlock:\n        cidr: 10.0.0.0/8\n        except:\n${times(count, (at) => `        - 10.${at >> 8}.${at & 255}.0/24\n`)}`,
      ),
  ],
  ...['a: "x\n---\n', "a: [x\n---\n", "a: {x\n---\n", "a: b\n c: d\n---\n", "a: 'x\n\n---\n"].flatMap(
    (piece) =>
      [
        [`documents of ${piece}`, 100_000, (count: number) => piece.repeat(count)],
        [`${piece} behind blank lines`, 20_000, (count: number) => "\n".repeat(count * 40) + piece.repeat(count)],
      ] as const,
  ),
  [
    "rules by an alias",
    32_000,
    (count) =>
      `apiVersion: v1\nkind: List\nitems:\n${["&r", "*r"].map((ingress) => `- apiVersion: networking.k8s.io/v1\n  kind: NetworkPolicy\n  metadata: {name: ${ingress === "&r" ? "p" : "q"}}\n  spec:\n    ingress: ${ingress}\n${ingress === "&r" ? times(count, () => "    - {}\n") : ""}`).join("")}`,
  ],
  [
    "problems by an alias",
    4_000,
    (count) =>
      policy(
        `  podSelector: {matchLabels: {${times(count * 30, (at) => `a${at}: b, `)}}}\n  ingress:\n  - &b {frm: []}\n${times(count, () => "  - *b\n")}`,
      ),
  ],
  ["tagged items", 32_000, (count) => `apiVersion: v1\nkind: List\nitems:\n${times(count, () => "- !a {}\n")}`],
  ["anchors", 40_000, (count) => policy(times(count, (at) => `  f${at}: &a${at} 1\n`))],
  ["steps down", 1_400, (count) => times(count, (at) => `${" ".repeat(at)}a:\n`)],
  [
    "objects twice",
    9_000,
    (count) => times(count, () => "---\napiVersion: ztap/v1\nkind: Namespace\nmetadata: {name: x}\n"),
  ],
];

t.test("the time to read a text is proportional to its size", async (t) => {
  cost(policy("  ingress: [{ports: [{port: 010}]}]\n"));
  for (const [name, pieces, text] of GROWING) {
    const [part, whole] = [text(pieces / 32), text(pieces / 4)];
    const before = Math.max(cost(part), 40);
    const after = cost(whole);
    // Eight times the text: eight times the time, and sixty-four times where something is quadratic.
    t.ok(after < 32 * before, `${name}: ${before.toFixed(0)} ms, then ${after.toFixed(0)} ms`);
  }
});

t.test("at most a thousand problems are reported, errors first, with a count of the rest", async (t) => {
  const bad = read(policy(times(5_000, (at) => `  f${at}: 1\n`)));
  t.equal(bad.diagnostics.length, 1000);
  t.equal(bad.omitted, 4001);
  t.match(bad.diagnostics.at(-1), {
    code: "ZT1012",
    severity: "error",
    message: "4,001 more problems were found, and are not listed",
    found: "4001",
  });
  t.match(bad.diagnostics[998], { code: "ZT2003", line: 1003 });

  // Warnings before it, in its own file and in others, do not push the one error out.
  const peers = (count: number) =>
    policy(`  ingress:\n  - from:\n${times(count, (at) => `    - podSelector: {matchLabels: {a: b${at}}}\n`)}`);
  const files = [
    peers(3_000),
    `${peers(1_500).replace("name: p", "name: q")}---\napiVersion: ztap/v1\nkind: Namespace\nmetadata: {}\n`,
  ];
  const warned = readManifests(files.map((text, at) => ({ path: `${at}.yaml`, text, blobId: String(at) })));
  t.ok(hasErrors(warned.diagnostics));
  t.match(warned.diagnostics, [{ severity: "error", code: "ZT2004" }]);
  const valid = read(peers(3_000));
  t.notOk(hasErrors(valid.diagnostics), "a count of warnings is a warning");
  t.match(valid.diagnostics.at(-1), { code: "ZT1012", severity: "warning" });
});

t.test("valid objects do not count as unreported problems, whichever reader reads them", async (t) => {
  const many = Array.from({ length: 1_001 }, (_, at) => ({
    path: `${at}.yaml`,
    text: `apiVersion: ztap/v1\nkind: Namespace\nmetadata: {name: n${at}, labels: {team: &t a}}\n`,
    blobId: String(at),
  }));
  const warned = policy("  podSelector: {}\n").replace("name: p", "name: p, namespace: n1");
  const { objects, diagnostics, omitted } = readManifests([...many, { path: "p.yaml", text: warned, blobId: "p" }]);
  t.match(diagnostics, [{ severity: "warning", code: "ZT5002" }]);
  t.equal(diagnostics.length, 1);
  t.same([objects.size, omitted], [1_002, 0]);

  const bad = policy(times(1_500, (at) => `  f${at}: 1\n`));
  const good = times(7, (at) => `---\napiVersion: ztap/v1\nkind: Namespace\nmetadata: {name: n${at}}\n`);
  t.equal(read(bad + good).omitted, read(bad).omitted);
  t.equal(read(`${bad}---\napiVersion: ztap/v1\n`).omitted, read(bad).omitted + 1, "a document without a kind is one");
});

t.test("a text that is too expensive to read is refused with reason and position", async (t) => {
  const rows: readonly (readonly [text: string, code: string, message: RegExp])[] = [
    ["- a\n".repeat(250_000).replace("a", "&a a"), "ZT1011", /600000 words/],
    [`a: &a b\n${"---\n".repeat(30_000)}`, "ZT1011", /20000 documents/],
    [`a: ${"] ".repeat(5_000)}`, "ZT1011", /1000 places/],
    [`a: ${"[".repeat(1_000)}`, "ZT1007", /nested/],
  ];
  for (const [text, code, message] of rows) {
    const { diagnostics, objects } = read(text);
    const found = diagnostics.find((diagnostic) => diagnostic.code === code);
    t.match(found?.message, message);
    t.ok((found?.column ?? 0) + (found?.line ?? 0) > 2, "where reading stopped");
    t.equal(objects.size, 0);
  }
  const broken = parseYaml({ path: "a", text: 'a: "x\n---\n'.repeat(5_000) });
  t.match(broken, { documents: { length: 1_001 }, stopped: { why: "errors" } }, "each document that is no YAML counts");
  const name = "a".repeat(1 << 20);
  const { diagnostics } = read(policy(`  podSelector: {matchLabels: {"-${name}": x}}\n`));
  t.ok(JSON.stringify(diagnostics).length < 10_000, "no message is as long as the text");
});
