/**
 * Versions: builds with other programs and another ABI version follow each other, upwards and downwards, while what is
 * forbidden and what is allowed is probed, connections live and datagrams are answered. Nothing of it notices.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { HOOKS } from "../../src/adapters/ebpf/kernel/programs.js";
import { ABI } from "../../src/adapters/ebpf/kernel/abi.generated.js";
import { inspectEnforcement } from "../../src/adapters/ebpf/inspect.js";
import { compile } from "../../src/policy/compile/compile.js";
import { objectsOf } from "../builders/state.js";
import { Ztap } from "../cli/ztap.js";
import { drift } from "./drift.js";
import { Conversations } from "./conversations.js";
import { buildOther } from "./other-build.js";
import { quiet, Sandbox, whyNot } from "./sandbox.js";
import { volume } from "../volume.js";
import { HANG_MS } from "../wait.js";

const abisOf = (node: string): readonly (number | null)[] =>
  inspectEnforcement().flatMap((one) => (one.node === node ? [one.abi] : []));

const reason = whyNot();
await t.test("versions", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const [OWN, PEER] = ["10.208.0.1", "10.208.0.2"];
  const sandbox = new Sandbox(t);
  const other = await buildOther(t);
  const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);
  const [node, cgroup] = [sandbox.node("versions"), sandbox.cgroup("versions")];
  const talk = await Conversations.start(t, { sandbox, cgroup, inside, outside, own: OWN, peer: PEER });
  const ztap = new Ztap(t);
  ztap.write("state/all.yaml", talk.manifest(node));
  const ruleset = compile(objectsOf(talk.manifest(node)), node);
  const env = { ZTAP_NODE: node, ZTAP_LISTEN: "off", ZTAP_CHECK_INTERVAL: "50ms" };
  t.match(await ztap.run(["apply", "state", "--auto-approve"], { env }), { code: 0 });
  const builds = [
    {
      abi: ABI.VERSION,
      ztap: join(ztap.root, "bin/ztap"),
      enforcer: () => sandbox.enforcer(node),
      mortal: fileURLToPath(new URL("./mortal.js", import.meta.url)),
    },
    {
      abi: other.abi,
      ztap: other.ztap,
      enforcer: () => other.enforcer({ node, logger: quiet }),
      mortal: other.script("mortal.js"),
    },
  ] as const;
  /** A start of one of the builds, as far as its first reconciliation. */
  const start = async (which: 0 | 1): Promise<void> => {
    const enforcer = builds[which].enforcer();
    await enforcer.open();
    try {
      await enforcer.apply(ruleset);
      t.strictSame(await drift(enforcer, ruleset), []);
    } finally {
      await enforcer.close();
    }
    t.strictSame(abisOf(node), [builds[which].abi], "one version stands");
  };
  await start(0);
  await talk.open();
  await talk.check(t, "enforcement");

  await t.test("upwards and downwards", async (t) => {
    for (const which of [1, 0, 1, 0] as const) {
      const [build, elder] = [builds[which], builds[which === 0 ? 1 : 0]];
      const agent = ztap.spawn(build.ztap, ["agent"], { env });
      await agent.says("enforcing revision 1");
      await talk.check(t, `version ${build.abi}`);
      t.strictSame(abisOf(node), [build.abi], "one version stands");
      const refused = await ztap.spawn(elder.ztap, ["agent"], { env }).ended;
      t.match(refused, { code: 1, stderr: /another process enforces in .*; stop it first/ });
      const { stdout } = await ztap.spawn(elder.ztap, ["enforcement", "show", "--json"], { env }).ended;
      const { nodes }: { nodes: readonly { readonly node: string }[] } = JSON.parse(stdout);
      const shownHere = nodes.filter((one) => one.node === node);
      t.match(shownHere, [{ abi: build.abi, links: { length: HOOKS.length }, foreign: [] }]);
      const shown = await ztap.spawn(elder.ztap, ["policy", "show", "p"], { env }).ended;
      t.match(shown, { code: 0, stdout: new RegExp(`Version ${build.abi} of the kernel tables is in force`) });
      const doctor = await ztap.spawn(elder.ztap, ["doctor"], { env }).ended;
      t.match(doctor.stdout, new RegExp(`${node} has version ${build.abi}.*this build makes version ${elder.abi}`));
      await agent.stop();
      await talk.check(t, `version ${build.abi} without its agent`);
    }
  });

  await t.test("after a kill at any step of a take-over, either build completes it", async (t) => {
    let [standing, step] = [0, 0];
    const stride = volume(9, 1);
    for (let killed = true; killed; step += stride) {
      const [from, to] = standing === 0 ? ([0, 1] as const) : ([1, 0] as const);
      const child = spawn(process.execPath, [builds[to].mortal, String(step), JSON.stringify(ruleset)], {
        stdio: "inherit",
      });
      const [, signal]: unknown[] = await once(child, "exit");
      killed = signal === "SIGKILL";
      if (step % 12 === 0) await talk.check(t, `death before step ${step}`);
      standing = step % 3 === 0 ? from : to;
      await start(standing === 0 ? 0 : 1);
      if (step % 12 === 0) await talk.check(t, `the start after it`);
    }
    t.ok(step > 50, `${step} steps`);
  });
  await talk.end(t);
});
