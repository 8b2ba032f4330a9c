/**
 * Births by pattern: units and paths with wildcards are enforced from their first packet, while the agent runs and while it does not,
 * and what is allowed succeeds at the first try.
 */
import { mkdirSync, readdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { EbpfEnforcer } from "../../src/adapters/ebpf/enforcer.js";
import type { Ruleset } from "../../src/model/ruleset.js";
import { volume } from "../volume.js";
import { HANG_MS } from "../wait.js";
import { bear, serveBirths, type Born } from "./births.js";
import { drift } from "./drift.js";
import { rulesetOf, withPatterns, type Isolation } from "./rulesets.js";
import { Sandbox, whyNot } from "./sandbox.js";

const reason = whyNot();
await t.test("births by pattern", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const [OWN, PEER] = ["10.219.0.1", "10.219.0.2"];
  const BIRTHS = { count: volume(150, 5_000, 20), perSecond: 500 };
  const sandbox = new Sandbox(t);
  const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);
  const server = await serveBirths(t, `/run/netns/${outside}`);
  const allowed: Isolation = {
    allow: [{ peers: [`${PEER}/32`], ports: [`tcp/${server.tcp}`, `udp/${server.udp}`] }],
  };
  const policy = { cgroup: null, addresses: [OWN], ingress: { allow: [] }, egress: allowed };

  const check = async (t: Test, born: Born, what: string): Promise<void> => {
    t.equal(born.leaked, 0, `${what}: nothing forbidden left`);
    t.equal(born.denied, BIRTHS.count, `${what}: each was refused`);
    t.equal(await server.arrived(), 0, `${what}: nothing forbidden arrived`);
    const tries = born.connected + born.refused;
    t.ok(born.connected >= 0.999 * tries, `${what}: ${born.connected} of ${tries} connected at the first try`);
    t.ok(born.echoed >= 0.999 * tries, `${what}: ${born.echoed} of ${tries} got their answer`);
    t.comment(`${what}: ${born.perSecond} births a second`);
  };
  const open = async (name: string): Promise<{ node: string; enforcer: EbpfEnforcer }> => {
    const node = sandbox.node(name);
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    return { node, enforcer };
  };

  const slice = `${sandbox.cgroup("a")}.slice`.replace("/", "");
  mkdirSync(join(sandbox.cgroupRoot, slice));
  t.teardown(() => rmdirSync(join(sandbox.cgroupRoot, slice)));
  const folder = sandbox.cgroup("deep/b");
  const kinds = [
    {
      ...{ what: "units", name: "worker@%d.service", folder: slice },
      pattern: { systemdUnit: "worker@*.service" },
    },
    {
      ...{ what: "paths", name: "shop-%d.scope", folder },
      pattern: { cgroup: `${folder.split("/")[0] ?? ""}/d*p/?/sh*-*.scope` },
    },
  ];

  for (const { what, name, folder, pattern } of kinds)
    await t.test(what, async (t) => {
      const { node, enforcer } = await open(what);
      const ruleset = withPatterns(rulesetOf(node, { "demo/web@n/*": policy }), { "demo/web@n/*": pattern });
      await enforcer.apply(ruleset);
      t.strictSame(await drift(enforcer, ruleset), []);
      const place = { folder, name, namespace: inside };

      await t.test("while the agent finds and adopts them", async (t) => {
        const agent = adopting(enforcer, ruleset, sandbox.cgroupRoot, folder);
        await check(t, await bear(sandbox, place, BIRTHS, { host: PEER, ...server }), "adopted");
        t.ok((await agent.end()) > 0, "instances were adopted");
        await enforcer.apply(ruleset);
      });
      await t.test("while it does not run", async (t) => {
        await enforcer.close();
        await check(t, await bear(sandbox, place, BIRTHS, { host: PEER, ...server }), "without an agent");
      });
      await t.test("the next agent finds no difference, and a missing pattern is healed", async (t) => {
        const next = sandbox.enforcer(node);
        await next.open();
        t.strictSame(await drift(next, ruleset), []);
        await next.close();
      });
    });
});

/** An agent that finds the cgroups in a folder, and enforces each as an instance, over and over. */
function adopting(enforcer: EbpfEnforcer, ruleset: Ruleset, root: string, folder: string): { end(): Promise<number> } {
  const found = new Set<string>();
  const [template] = ruleset.births?.templates ?? [];
  if (template === undefined) throw new TypeError("the ruleset has no template");
  let isOver = false;
  const run = (async () => {
    while (!isOver) {
      const names = readdirSync(join(root, folder), { withFileTypes: true }).filter((one) => one.isDirectory());
      const subjects = names.map(({ name }) => ({
        ...template.subject,
        workload: `demo/web@n/${name}`,
        cgroup: `${folder}/${name}`,
        template: template.subject.workload,
      }));
      await enforcer.apply({ ...ruleset, subjects, digest: `${ruleset.digest} ${names.map(({ name }) => name).join()}` });
      for (const { name } of names) found.add(name);
      // Lets what this process reads come in.
      await new Promise(setImmediate);
    }
  })();
  return {
    end: async () => {
      isOver = true;
      await run;
      return found.size;
    },
  };
}
