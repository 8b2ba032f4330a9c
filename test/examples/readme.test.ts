/** What the README of each example says is so: it validates, opens what is listed, and one wrong line is found. */
import { delimiter, join } from "node:path";
import t from "tap";
import { Ztap } from "../cli/ztap.js";
import { blockOf, copyExample, EXAMPLES } from "./example.js";

for (const name of Object.keys(EXAMPLES)) {
  t.test(name, async (t) => {
    const ztap = new Ztap(t);
    const cwd = copyExample(ztap, name);
    t.match(await ztap.run(["validate"], { cwd }), { code: 0, stderr: "", stdout: /^valid: .*ConnectivityTest\n$/ });
    t.equal((await ztap.run(["connectivity"], { cwd })).stdout, blockOf(cwd, "text"));
    t.equal((await ztap.run(["graph", "--format", "mermaid"], { cwd })).stdout, blockOf(cwd, "mermaid"));
    t.match(await ztap.run(["graph"], { cwd }), { code: 0, stderr: "", stdout: /<\/svg>\n*$/ });

    const env = { PATH: [join(ztap.root, "bin"), ztap.env["PATH"]].join(delimiter) };
    const broken = await ztap.spawn("sh", ["-euc", blockOf(cwd, "sh")], { cwd, env }).ended;
    t.equal(broken.code, 0, "the block's last command fails, as it says");
    const { diagnostics } = await ztap.json(t, "validate", ["validate"], { cwd, code: 1 });
    t.ok(diagnostics.length > 0);
    for (const { code, file } of diagnostics) {
      t.equal(code, "ZT4007", "nothing but the test is broken");
      t.match(file, /^tests\//);
    }
  });
}
