/** What the dataplane refuses to work on, and how far a refusal reaches. */
import { chownSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { HOOKS } from "../../src/adapters/ebpf/kernel/programs.js";
import { EbpfEnforcer } from "../../src/adapters/ebpf/enforcer.js";
import { inspectEnforcement } from "../../src/adapters/ebpf/inspect.js";
import { BPFFS } from "../../src/adapters/ebpf/kernel/paths.js";
import { isEmptyDiff } from "../../src/diff/keyed.js";
import { rulesetOf } from "./rulesets.js";
import { quiet, Sandbox, whyNot } from "./sandbox.js";

const reason = whyNot();
if (reason !== null) t.plan(0, `SKIP kernel tests: ${reason}`);
else {
  const sandbox = new Sandbox(t);

  await t.test("a cgroup path that cannot be read stalls its own workload and no other", async (t) => {
    const node = sandbox.node("path");
    const cgroup = sandbox.cgroup("path");
    const ruleset = rulesetOf(node, {
      "demo/bad": { cgroup: `${sandbox.cgroupPathOf("path")}/${"x/".repeat(2100)}`, egress: { allow: [] } },
      "demo/file": { cgroup: `${cgroup}/cgroup.procs`, egress: { allow: [] } },
      "demo/web": { cgroup, egress: { allow: [] } },
    });
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    await enforcer.apply(ruleset);
    const observed = await enforcer.observe(ruleset);
    t.match(observed.subjects, [
      { workload: "demo/bad", state: "Stalled", message: /more than 31 levels deep/ },
      { workload: "demo/file", state: "Pending" },
      { workload: "demo/web", state: "Enforced" },
    ]);
    t.ok(isEmptyDiff(observed.difference));
    t.equal([...enforcer.lower(ruleset).keys()].filter((key) => key.startsWith("link/demo/web/")).length, HOOKS.length);
  });

  await t.test("a wrong cgroup root is refused with the reason", async (t) => {
    const root = t.testdir({});
    for (const readOnly of [false, true]) {
      const enforcer = new EbpfEnforcer({ node: sandbox.node("root"), cgroupRoot: root, logger: quiet, readOnly });
      await t.rejects(enforcer.open(), { code: "unsupported", message: /not the cgroup v2 hierarchy/ });
    }
  });

  await t.test("a read-only enforcer reads no folder of another user", async (t) => {
    const root = join(BPFFS, `ztap-reader-${process.pid}`);
    t.teardown(() => rmSync(root, { recursive: true, force: true }));
    for (const foreign of [root, join(root, "n"), join(root, "n", "maps")]) {
      mkdirSync(join(root, "n", "maps"), { recursive: true, mode: 0o700 });
      t.equal(inspectEnforcement({ pinRoot: root }).length, 1, "its own it reads");
      chownSync(foreign, 65534, 65534);
      const looking = new EbpfEnforcer({ node: "n", pinRoot: root, logger: quiet, readOnly: true });
      await t.rejects(looking.open(), { code: "not-permitted", message: /not a folder of this user alone/ });
      t.throws(() => inspectEnforcement({ pinRoot: root }), { code: "not-permitted" });
      rmSync(root, { recursive: true });
    }
  });
}
