/** What the owner of a delegated cgroup does in it affects that owner's workload alone. */
import { execFileSync } from "node:child_process";
import { mkdirSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { inspectEnforcement } from "../../src/adapters/ebpf/inspect.js";
import { drift } from "./drift.js";
import { rulesetOf } from "./rulesets.js";
import { Sandbox, whyNot } from "./sandbox.js";

const PEER = "10.207.0.2";
/** Each longer than a quarter of NAME_MAX: twenty of them exceed PATH_MAX. */
const LONG = "x".repeat(250);
const DEEP = 20;

const reason = whyNot();
await t.test("hostile cgroups", { skip: reason ?? false }, async (t) => {
  const sandbox = new Sandbox(t);
  const [inside, outside] = sandbox.network(["10.207.0.1/24"], [`${PEER}/24`]);
  const peer = await sandbox.actor({ namespace: outside });
  const { port } = await peer.call("tcpListen", { host: "0.0.0.0", port: 0 });

  await t.test("a subtree deeper than PATH_MAX stops no restarted service from being enforced", async (t) => {
    const node = sandbox.node("deep");
    const [cgroup, delegated] = [sandbox.cgroup("deep-web"), sandbox.cgroup("deep-delegated")];
    nest(join(sandbox.cgroupRoot, delegated));
    t.teardown(() => unnest(join(sandbox.cgroupRoot, delegated)));
    const ruleset = rulesetOf(node, {
      "demo/deep": { cgroup: delegated, egress: { allow: [] } },
      "demo/web": { cgroup, egress: { allow: [] } },
    });
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    await enforcer.apply(ruleset);
    const old = await sandbox.actor({ cgroup, namespace: inside });
    // A socket that outlives the folder: its cgroup has to be looked for.
    await old.call("udpBind", { host: "0.0.0.0", port: 0 });
    writeFileSync(join(sandbox.cgroupRoot, "cgroup.procs"), String(old.pid));
    const folder = join(sandbox.cgroupRoot, cgroup);
    rmdirSync(folder);
    mkdirSync(folder);
    await enforcer.apply(ruleset);
    t.strictSame(await drift(enforcer, ruleset), []);
    const web = await sandbox.actor({ cgroup, namespace: inside });
    t.match(await web.call("tcpConnect", { host: PEER, port }), { code: "EPERM" });
    t.match(
      inspectEnforcement().filter((found) => found.node === node),
      [{ links: { length: 18 } }],
    );
    await web.end();
    await old.end();
  });
});

/** Step by step: the whole path is longer than a system call takes. */
function nest(folder: string): void {
  const step = `mkdir "$1" && cd "$1" || exit 1`;
  const steps = Array.from({ length: DEEP }, () => step).join("\n");
  execFileSync("sh", ["-c", steps, "sh", LONG], { cwd: folder });
}

function unnest(folder: string): void {
  const script = `n=0
    while cd "$1" 2>/dev/null; do n=$((n + 1)); done
    while [ $n -gt 0 ]; do cd .. && rmdir "$1" || exit 1; n=$((n - 1)); done`;
  execFileSync("bash", ["-c", script, "bash", LONG], { cwd: folder });
}
