/**
 * What the README of each example says is so: it validates, opens what is listed, and one wrong line is found. And the
 * README of ztap itself, whose blocks are run in their order.
 */
import { readFileSync, rmSync } from "node:fs";
import { delimiter, join } from "node:path";
import t from "tap";
import { Ztap } from "../cli/ztap.js";
import { Sandbox, whyNot } from "../kernel/sandbox.js";
import { blockOf, copyExample, EXAMPLES } from "./example.js";
import { waitUntil } from "../wait.js";

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

const reason = whyNot();

t.test("the commands of the README work unchanged", reason === null ? {} : { skip: reason }, async (t) => {
  const ztap = new Ztap(t);
  const blocks = [...readFileSync(join(ztap.root, "README.md"), "utf8").matchAll(/^```sh\n(.*?)^```$/gms)];
  t.equal(blocks.length, 3);
  const sandbox = new Sandbox(t);
  sandbox.cgroup("all");
  const cgroup = join(sandbox.cgroupPathOf("all"), "try");
  const script = blocks
    .map(([, block = ""]) => block)
    .join("")
    // A cgroup of the test's own, in place of the one in the hierarchy's root.
    .replaceAll(/(?<!~\/|HOME\/)ztap-try/g, cgroup);
  const pinRoot = `/sys/fs/bpf/ztap-readme-${process.pid}`;
  const env = { ZTAP_PIN_ROOT: pinRoot, ZTAP_LISTEN: "off" };
  t.teardown(async () => {
    await ztap.run(["enforcement", "remove", "--auto-approve"], { env });
    rmSync(pinRoot, { recursive: true, force: true });
  });
  const stop = `trap 'status=$?; test -z "\${!-}" || kill $! 2>&- || :; exit $status' EXIT\n`;
  const shell = ztap.spawn("sh", ["-euc", stop + script], { env, cwd: ztap.root, isScript: true });
  await waitUntil(() => shell.isOver, { what: "its end" });
  const { code, stdout, stderr } = await shell.ended;
  t.equal(code, 0, stdout + stderr);
  for (const expected of [
    /Committed revision 1/,
    /web-1 +InSync/,
    /shop\/web-to-db +1 +\S+ +\S+ +Synced/,
    /refused, at once/,
    /shop +web +web-1 +cgroup \S+ +1 +1 /,
    /denied +egress +shop\/web@web-1 +192\.0\.2\.129 +22\/TCP +no rule of .*shop\/default-deny \(policies\/default-deny\.yaml:\d+\)/,
    /Allowed {2}shop\/web → shop\/db 5432\/TCP/,
    /Removed enforcement of node web-1; open now: shop\/web/,
  ])
    t.match(stdout, expected);
  t.match(stderr, /Operation not permitted/);
});
