import t from "tap";
import { readConfig } from "../../src/settings/config-file.js";

const read = (source: string) => readConfig("c.yaml", `source:\n  url: /repo\n${source}`);

t.test("nested settings are read by their keys", async (t) => {
  const since = "a".repeat(40);
  const { values, diagnostics } = read(
    `  maxDeletePercent: 20\n  verify:\n    openpgpKeys: /etc/ztap/keys.asc\n    since: ${since}\n`,
  );
  t.same(diagnostics, []);
  t.same(values, {
    "source.url": { text: "/repo", origin: "c.yaml:2" },
    "source.maxDeletePercent": { text: "20", origin: "c.yaml:3" },
    "source.verify.openpgpKeys": { text: "/etc/ztap/keys.asc", origin: "c.yaml:5" },
    "source.verify.since": { text: since, origin: "c.yaml:6" },
  });
});

t.test("a file without settings is valid", async (t) => {
  for (const text of ["", "# nothing yet\n"]) t.same(readConfig("c.yaml", text), { values: {}, diagnostics: [] });
});

t.test("a duration without a unit, or with another one, is refused with the form", async (t) => {
  for (const [text, wanted] of [
    ["3", { code: "ZT2005", fix: "write it with its unit, such as 3s" }],
    ['"3"', { code: "ZT2005", wanted: "a number with its unit, such as 500ms, 10s, 5m or 1h" }],
    ["3 weeks", { code: "ZT2005", wanted: "a number with its unit, such as 500ms, 10s, 5m or 1h" }],
  ] as const)
    t.match(readConfig("c.yaml", `checkInterval: ${text}\n`).diagnostics, [wanted], text);
});

t.test("a number out of range is refused with the range of the schema", async (t) => {
  for (const [text, wanted] of [
    ["keepRevisions: 0\n", "1 to 999999999"],
    ["source: { url: x, maxDeletePercent: 101 }\n", "0 to 100"],
  ] as const)
    t.match(readConfig("c.yaml", text).diagnostics, [{ code: "ZT2008", wanted }], text);
});

for (const [source, message] of [
  ["  verify: {}\n", /verify has no sshSigners/],
  ["  verify:\n", /verify/],
  ["  verify: { sshSigners: keys }\n", /sshSigners/],
  ["  verify: { sshSigners: '' }\n", /sshSigners/],
  ["  verify: { sshSignesr: /keys }\n", /sshSignesr/],
  ["  maxDeletePercent: 101\n", /maxDeletePercent is 101/],
] as const) {
  t.test(`a check that would not be made is refused: ${source.trim()}`, async (t) => {
    const { values, diagnostics } = read(source);
    t.match(diagnostics, [{ severity: "error", message }]);
    t.same(values, {});
  });
}
