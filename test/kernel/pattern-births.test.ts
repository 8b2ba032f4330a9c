/**
 * Births by pattern: units and paths with wildcards are enforced from their first packet, while the agent runs and while it does not,
 * and what is allowed succeeds at the first try.
 */
import { mkdirSync, readdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { EbpfEnforcer } from "../../src/adapters/ebpf/enforcer.js";
import { ABI } from "../../src/adapters/ebpf/kernel/abi.generated.js";
import { loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import { DEFAULT_PIN_ROOT, nodeFolders } from "../../src/adapters/ebpf/kernel/paths.js";
import { withPin } from "../../src/adapters/ebpf/attach/pins.js";
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

  let arrived = 0;
  const check = async (t: Test, born: Born, what: string, count = BIRTHS.count): Promise<void> => {
    t.equal(born.leaked, 0, `${what}: nothing forbidden left`);
    t.equal(born.denied, count, `${what}: each was refused`);
    t.equal(await server.arrived(), arrived, `${what}: nothing forbidden arrived`);
    const tries = born.connected + born.refused;
    t.ok(born.connected >= 0.999 * tries, `${what}: ${born.connected} of ${tries} connected at the first try`);
    t.ok(born.echoed >= 0.999 * tries, `${what}: ${born.echoed} of ${tries} got their answer`);
    t.ok(born.perSecond > 0, `${what}: ${born.perSecond} births a second`);
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
      await t.test("the next agent finds no difference, and heals what is changed", async (t) => {
        const next = sandbox.enforcer(node);
        await next.open();
        t.strictSame(await drift(next, ruleset), []);
        const native = loadNative();
        const map = join(nodeFolders(DEFAULT_PIN_ROOT, node).maps, "ztap_patterns");
        withPin(native, map, (fd) => native.mapDelete(fd, Buffer.alloc(4)));
        t.match(
          await drift(next, ruleset),
          [/isolation of newborn cgroups .* of demo\/web@n/],
          "a lost pattern is drift",
        );
        await next.apply(ruleset);
        t.strictSame(await drift(next, ruleset), []);
        await check(t, await bear(sandbox, place, { ...BIRTHS, count: 10 }, { host: PEER, ...server }), "healed", 10);
        const other = { "demo/web@n/*": { cgroup: `${folder}/none-*` } };
        await next.apply(withPatterns(rulesetOf(node, { "demo/web@n/*": policy }), other));
        const free = await bear(sandbox, place, { ...BIRTHS, count: 5 }, { host: PEER, ...server });
        t.ok(free.leaked >= 5, "what no pattern matches is not touched");
        arrived = await server.arrived();
        await next.close();
      });
    });

  await t.test("what began before the agent found the cgroup goes on when it is an instance's", async (t) => {
    const { node, enforcer } = await open("goes-on");
    const pattern = { cgroup: `${sandbox.cgroup("goes-on")}/*.scope` };
    const peer = await sandbox.actor({ namespace: outside });
    const [{ port }, { id: dns, port: udp }] = [
      await peer.call("tcpListen", { host: "0.0.0.0", port: 0 }),
      await peer.call("udpBind", { host: PEER, port: 0 }),
    ];
    const egress = { allow: [{ peers: "any" as const, ports: [`tcp/${port}`, `udp/${udp}`] }] };
    const spec = { "demo/web@n/*": { cgroup: null, addresses: [OWN], ingress: { allow: [] }, egress } };
    const ruleset = withPatterns(rulesetOf(node, spec), { "demo/web@n/*": pattern });
    await enforcer.apply(ruleset);
    const cgroup = sandbox.cgroup("goes-on/a.scope");
    const waiting = enforcer.newborns?.waiting() ?? [];
    t.match(waiting, [{ container: null }], "it waits for the agent");
    const service = await sandbox.actor({ cgroup, namespace: inside });
    const { id: stream } = await service.call("tcpConnect", { host: PEER, port });
    const { id: question, port: from } = await service.call("udpBind", { host: OWN, port: 0 });
    await service.call("udpSend", { id: question, host: PEER, port: udp, text: "question" });
    t.match(await peer.call("udpWait", { id: dns, text: "question" }), { text: /question/ });

    const [template] = ruleset.births?.templates ?? [];
    if (template === undefined) throw new TypeError("no template");
    const instance = {
      ...template.subject,
      workload: "demo/web@n/a.scope",
      cgroup,
      template: template.subject.workload,
    };
    const found = { ...ruleset, subjects: [instance], digest: "found" };
    await enforcer.apply(found);
    t.strictSame(await drift(enforcer, found), []);
    t.strictSame(enforcer.newborns?.waiting(), [], "it is adopted");
    await peer.call("udpSend", { id: dns, host: OWN, port: from, text: "answer" });
    t.match(await service.call("udpWait", { id: question, text: "answer" }), { text: /answer/ }, "the answer comes in");
    await service.call("tcpSend", { id: stream, text: "more" });
    t.match(await service.call("tcpWait", { id: stream, text: "more" }), { text: /more/ }, "the connection goes on");
    enforcer.newborns?.release(waiting, []);
    t.match(await service.call("tcpConnect", { host: PEER, port: server.tcp }), { code: "EPERM" }, "it is not opened");
  });

  await t.test("two newborn cgroups of one pattern are not one workload to each other", async (t) => {
    const { node, enforcer } = await open("siblings");
    const pattern = { cgroup: `${sandbox.cgroup("siblings")}/*.scope` };
    const everything = { allow: [{ peers: "any" as const, ports: "any" as const }] };
    const spec = { "demo/web@n/*": { cgroup: null, addresses: [OWN], ingress: { allow: [] }, egress: everything } };
    await enforcer.apply(withPatterns(rulesetOf(node, spec), { "demo/web@n/*": pattern }));
    const [one, other] = await Promise.all(
      ["one", "other"].map((name) =>
        sandbox.actor({ cgroup: sandbox.cgroup(`siblings/${name}.scope`), namespace: inside }),
      ),
    );
    if (one === undefined || other === undefined) throw new TypeError("no actors");
    const { id, port } = await one.call("udpBind", { host: "127.0.0.1", port: 0 });
    const { id: sender } = await other.call("udpBind", { host: "127.0.0.1", port: 0 });
    const { id: own } = await one.call("udpBind", { host: "127.0.0.1", port: 0 });
    await other.call("udpSend", { id: sender, host: "127.0.0.1", port, text: "theirs" });
    await one.call("udpSend", { id: own, host: "127.0.0.1", port, text: "mine" });
    t.match(await one.call("udpWait", { id, text: "mine" }), { text: /mine/ }, "what it sends to itself comes in");
    const { received } = await one.call("udpReceived", { id });
    t.notMatch(JSON.stringify(received), /theirs/, "what the other one sends does not");
  });

  await t.test(
    "a pattern that has no room closes what it matches, and below a workload nothing is born again",
    async (t) => {
      const { node, enforcer } = await open("room");
      const root = sandbox.cgroup("room");
      const spec = { "demo/web@n/*": { ...policy }, "demo/outer@n": { ...policy, cgroup: `${root}/outer` } };
      const pattern = { cgroup: `${root}/*/*.scope` };
      sandbox.cgroup("room/outer");
      sandbox.cgroup("room/many");
      await enforcer.apply(withPatterns(rulesetOf(node, spec), { "demo/web@n/*": pattern }));
      sandbox.cgroup("room/outer/a.scope");
      t.strictSame(enforcer.newborns?.waiting(), [], "its own programs decide below a workload");
      const folder = join(sandbox.cgroupRoot, root, "many");
      const names = Array.from({ length: ABI.MAX_OF_ONE_NAME }, (_, at) => join(folder, `${at}.scope`));
      for (const name of names) mkdirSync(name);
      try {
        t.equal(enforcer.newborns?.waiting().length, ABI.MAX_OF_ONE_NAME);
        const cgroup = sandbox.cgroup("room/many/last.scope");
        const service = await sandbox.actor({ cgroup, namespace: inside });
        const { id } = await service.call("udpBind", { host: OWN, port: 0 });
        const sent = await service.call("udpSend", { id, host: PEER, port: server.udp, text: "x" }).catch(String);
        t.match(JSON.stringify(sent), /EPERM/, "it is closed");
        const free = await sandbox.actor({ cgroup: sandbox.cgroup("room/many/free"), namespace: inside });
        t.match(await free.call("tcpConnect", { host: PEER, port: server.tcp }), { id: /./ }, "its neighbour is not");
      } finally {
        for (const name of names) rmdirSync(name);
      }
    },
  );
});

/** An agent that finds the cgroups in a folder, and enforces each as an instance, over and over. */
function adopting(enforcer: EbpfEnforcer, ruleset: Ruleset, root: string, folder: string): { end(): Promise<number> } {
  const found = new Set<string>();
  const [template] = ruleset.births?.templates ?? [];
  if (template === undefined) throw new TypeError("the ruleset has no template");
  const stop = new AbortController();
  const run = (async () => {
    while (!stop.signal.aborted) {
      const names = readdirSync(join(root, folder), { withFileTypes: true }).filter((one) => one.isDirectory());
      const subjects = names.map(({ name }) => ({
        ...template.subject,
        workload: `demo/web@n/${name}`,
        cgroup: `${folder}/${name}`,
        template: template.subject.workload,
      }));
      await enforcer.apply({
        ...ruleset,
        subjects,
        digest: `${ruleset.digest} ${names.map(({ name }) => name).join()}`,
      });
      for (const { name } of names) found.add(name);
      // Lets what this process reads come in.
      await new Promise(setImmediate);
    }
  })();
  return {
    end: async () => {
      stop.abort();
      await run;
      return found.size;
    },
  };
}
