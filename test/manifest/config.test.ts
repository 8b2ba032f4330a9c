import t from "tap";
import { readConfig } from "../../src/settings/config-file.js";

const read = (source: string) => readConfig("c.yaml", `source:\n  url: /repo\n${source}`);

t.test("the settings of the source, one below the other, come out by their keys", async (t) => {
  const since = "a".repeat(40);
  const { values, diagnostics } = read(
    `  maxDeletePercent: 20\n  verify:\n    openpgpKeys: /etc/ztap/keys.asc\n    since: ${since}\n`,
  );
  t.same(diagnostics, []);
  t.same(values, {
    "source.url": "/repo",
    "source.maxDeletePercent": "20",
    "source.verify.openpgpKeys": "/etc/ztap/keys.asc",
    "source.verify.since": since,
  });
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
