/**
 * Newborn cgroups: a service that restarts gets a new cgroup each time. It is enforced from its first packet, while the
 * agent runs and while it does not.
 */
import { existsSync, mkdirSync, rmSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { EbpfEnforcer } from "../../src/adapters/ebpf/enforcer.js";
import { DEFAULT_PIN_ROOT, nodeFolders } from "../../src/adapters/ebpf/kernel/paths.js";
import { ABI } from "../../src/adapters/ebpf/kernel/abi.generated.js";
import { loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import { linkFolder, withPin } from "../../src/adapters/ebpf/attach/pins.js";
import type { Ruleset } from "../../src/model/ruleset.js";
import { HANG_MS, waitUntil } from "../wait.js";
import { volume } from "../volume.js";
import { drift } from "./drift.js";
import { Prober, type Ports } from "./prober.js";
import { rulesetOf, type Isolation } from "./rulesets.js";
import { packets, Sandbox, whyNot, type Actor } from "./sandbox.js";

const reason = whyNot();
await t.test("newborn cgroups", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const [OWN, PEER] = ["10.211.0.1", "10.211.0.2"];
  const RESTARTS = volume(10, 250);
  const NOTHING: Isolation = { allow: [] };
  const sandbox = new Sandbox(t);
  const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);
  const sink = await Prober.start(t, sandbox, { namespace: outside }, { host: OWN, allowed: 0, forbidden: 0 });
  const peer = await sandbox.actor({ namespace: outside });
  const served = (await peer.call("tcpListen", { host: "0.0.0.0", port: 0 })).port ?? 0;
  const udp = (port: number): Isolation => ({ allow: [{ peers: "any", ports: [`udp/${port}`] }] });
  const tcp = (port: number): Isolation => ({ allow: [{ peers: "any", ports: [`tcp/${port}`] }] });

  /** A workload whose cgroup does not exist yet. */
  const scene = async (name: string, folders: string, spec: { ingress?: Isolation; egress?: Isolation }) => {
    const cgroup = join(sandbox.cgroupPathOf(name), folders);
    sandbox.cgroup(name);
    const node = sandbox.node(name);
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    const ruleset = rulesetOf(node, { "demo/web": { cgroup, ...spec } });
    await enforcer.apply(ruleset);
    return { node, cgroup, enforcer, ruleset };
  };
  const make = (cgroup: string): void => void mkdirSync(join(sandbox.cgroupRoot, cgroup), { recursive: true });
  const remove = (cgroup: string): Promise<unknown> =>
    waitUntil(
      () => {
        try {
          rmdirSync(join(sandbox.cgroupRoot, cgroup));
          return true;
        } catch {
          return !existsSync(join(sandbox.cgroupRoot, cgroup));
        }
      },
      { what: `the end of ${cgroup}` },
    );

  /** Starts a service in a new cgroup, lets it probe, and ends it; what got out is counted by the sink as well. */
  const restart = async (t: Test, cgroup: string, host: string, target: Ports, what: string): Promise<void> => {
    make(cgroup);
    const service = await Prober.start(t, sandbox, { cgroup, namespace: inside }, { host, ...target });
    await waitUntil(async () => (await service.counters()).refused.forbidden > 200, { what: "two hundred refusals" });
    const { sent, refused } = await service.counters();
    t.equal(sent.forbidden, 0, `${what}: nothing forbidden left`);
    t.equal(refused.allowed, 0, `${what}: nothing allowed was refused`);
    t.ok(sent.allowed > 0, `${what}: what is allowed left`);
    await service.end();
    await remove(cgroup);
  };

  await t.test("a service that restarts is enforced from its first packet", async (t) => {
    const { cgroup, enforcer, ruleset, node } = await scene("restart", "service", { egress: udp(sink.ports.allowed) });
    t.strictSame(await drift(enforcer, ruleset), [], "a workload whose cgroup does not exist is no drift");
    const before = await sink.counters();

    await t.test("while the agent runs", async (t) => {
      const stop = new AbortController();
      const agent = (async () => {
        const events = enforcer.watch(stop.signal)[Symbol.asyncIterator]();
        while ((await events.next()).done !== true) await enforcer.apply(ruleset);
      })();
      for (let at = 0; at < RESTARTS; at++) await restart(t, cgroup, PEER, sink.ports, `restart ${at}`);
      stop.abort();
      await agent;
    });
    await t.test("while it does not", async (t) => {
      await enforcer.close();
      for (let at = 0; at < RESTARTS; at++) await restart(t, cgroup, PEER, sink.ports, `restart ${at}`);
    });
    await t.test("after the folder above it was made again", async (t) => {
      for (let at = 0; at < 3; at++) {
        await remove(sandbox.cgroupPathOf("restart"));
        await restart(t, cgroup, PEER, sink.ports, `restart ${at}`);
      }
    });
    await t.test("and the next agent takes it over", async (t) => {
      make(cgroup);
      const next = sandbox.enforcer(node);
      await next.open();
      await next.apply(ruleset);
      t.strictSame(await drift(next, ruleset), []);
      await restart(t, cgroup, PEER, sink.ports, "with its own programs");
      await next.close();
    });
    t.equal((await sink.counters()).got.forbidden, before.got.forbidden, "nothing forbidden arrived");
  });

  /** Acts, and waits until the workload has one refusal more. */
  const isRefused = async (
    enforcer: EbpfEnforcer,
    ruleset: Ruleset,
    direction: "ingress" | "egress",
    act: () => unknown,
  ): Promise<void> => {
    const denied = async (): Promise<bigint> => packets(await enforcer.observe(ruleset), direction, "denied");
    const before = await denied();
    act();
    await waitUntil(async () => (await denied()) > before, { what: `a refusal of ${direction}` });
  };
  const echoes = async (t: Test, actor: Actor, id: unknown, text: string, what: string): Promise<void> => {
    await actor.call("tcpSend", { id, text });
    t.match(await actor.call("tcpWait", { id, text }), { text: new RegExp(text, "u") }, what);
  };

  await t.test("a service listens in a newborn cgroup", async (t) => {
    const spec = { ingress: tcp(7001), egress: NOTHING };
    const { cgroup, enforcer, ruleset } = await scene("listen", "a/b/service", spec);
    make(cgroup);
    const service = await sandbox.actor({ cgroup, namespace: inside });
    for (const port of [7001, 7002]) await service.call("tcpListen", { host: "0.0.0.0", port });
    const { id } = await peer.call("tcpConnect", { host: OWN, port: 7001 });
    await echoes(t, peer, id, "before", "who may come in, comes in");
    await isRefused(enforcer, ruleset, "ingress", () => peer.call("tcpConnect", { host: OWN, port: 7002 }));
    await isRefused(enforcer, ruleset, "egress", () => service.call("tcpConnect", { host: PEER, port: served }));
    t.equal((await service.call("tcpAccepted"))["count"], 1, "nobody else came in");
    await enforcer.apply(ruleset);
    t.strictSame(await drift(enforcer, ruleset), [], "the agent takes the cgroup over");
    await echoes(t, peer, id, "after", "the connection goes on");
    await service.end();
    for (const path of [cgroup, join(cgroup, ".."), join(cgroup, "../..")]) await remove(path);
  });

  await t.test("sockets of a newborn cgroup that is gone again follow the policy", async (t) => {
    const { node, cgroup, enforcer } = await scene("gone", "service", { egress: tcp(served) });
    make(cgroup);
    const service = await sandbox.actor({ cgroup, namespace: inside });
    const { id } = await service.call("tcpConnect", { host: PEER, port: served });
    await echoes(t, service, id, "first", "an allowed connection");
    writeFileSync(join(sandbox.cgroupRoot, sandbox.cgroupPathOf("gone"), "cgroup.procs"), String(service.pid));
    await remove(cgroup);
    const next = rulesetOf(node, { "demo/web": { cgroup, egress: NOTHING } });
    await enforcer.apply(next);
    await isRefused(enforcer, next, "egress", () => service.call("tcpSend", { id, text: "late" }));
    t.notMatch((await service.call("tcpReceived", { id })).text, /late/u, "ends with the policy that allowed it");
    await service.end();
  });

  /** A service in a new cgroup asks the sink. */
  const asks = async (cgroup: string): Promise<string> => {
    make(cgroup);
    const service = await sandbox.actor({ cgroup, namespace: inside });
    const { id } = await service.call("udpBind", { host: "0.0.0.0", port: 0 });
    const { code } = await service.call("udpSend", { id, host: PEER, port: sink.ports.allowed, text: "x" });
    await service.end();
    return code ?? "passes";
  };

  await t.test("a newborn cgroup in another one, and in one that is no workload any more", async (t) => {
    const name = "nested";
    sandbox.cgroup(name);
    const [outer, inner] = ["outer", "outer/inner"].map((path) => join(sandbox.cgroupPathOf(name), path)) as [
      string,
      string,
    ];
    const node = sandbox.node(name);
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    const both = rulesetOf(node, { "demo/inner": { cgroup: inner, egress: NOTHING }, "demo/outer": { cgroup: outer } });
    await enforcer.apply(both);
    t.equal(await asks(inner), "EPERM", "both are new: the inner one is closed");
    await enforcer.apply(both);
    t.equal(await asks(inner), "EPERM", "and by its own programs");
    for (const path of [inner, outer]) await remove(path);

    const alone = rulesetOf(node, { "demo/inner": { cgroup: inner, egress: NOTHING } });
    await enforcer.apply(alone);
    t.equal(await asks(inner), "EPERM", "the outer one is a folder now");
    await enforcer.apply(alone);
    t.strictSame(await drift(enforcer, alone), []);
    for (const path of [inner, outer]) await remove(path);
  });

  await t.test("a newborn cgroup that finds no room is closed until it has programs of its own", async (t) => {
    const { node, cgroup, enforcer, ruleset } = await scene("crowd", "service", { egress: udp(sink.ports.allowed) });
    const native = loadNative();
    withPin(native, join(nodeFolders(DEFAULT_PIN_ROOT, node).maps, "ztap_living"), (fd) => {
      const { count, keys } = native.mapRead(fd);
      const full = Buffer.alloc(4);
      full.writeUInt32LE(ABI.MAX_OF_ONE_NAME);
      for (let at = 0; at < count; at++) native.mapSet(fd, keys.subarray(at * 4, at * 4 + 4), full);
    });
    t.equal(await asks(cgroup), "EPERM", "it is closed");
    await enforcer.apply(ruleset);
    t.equal(await asks(cgroup), "passes", "its programs let it");
    await remove(cgroup);
  });

  await t.test("what is damaged before there is a cgroup is seen, and healed", async (t) => {
    const { node, cgroup, enforcer, ruleset } = await scene("damage", "service", { egress: NOTHING });
    const native = loadNative();
    withPin(native, join(nodeFolders(DEFAULT_PIN_ROOT, node).maps, "ztap_names"), (fd) => {
      native.mapDelete(fd, native.mapRead(fd).keys);
    });
    t.match(await drift(enforcer, ruleset), [/^isolation of newborn cgroups of demo\/web is missing/u]);
    await enforcer.apply(ruleset);
    t.strictSame(await drift(enforcer, ruleset), []);
    t.equal(await asks(cgroup), "EPERM");
    await remove(cgroup);
  });

  await t.test("a guard that has lost the program of workloads closes newborn cgroups, and is healed", async (t) => {
    const { node, cgroup, enforcer, ruleset } = await scene("decider", "service", { egress: udp(sink.ports.allowed) });
    await enforcer.close();
    // The kernel empties the map when nobody holds it any more.
    rmSync(join(nodeFolders(DEFAULT_PIN_ROOT, node).maps, "ztap_decider_egress"));
    t.equal(await asks(cgroup), "EPERM");
    await remove(cgroup);
    const next = sandbox.enforcer(node);
    await next.open();
    t.match(await drift(next, ruleset), [/egress/u]);
    await next.apply(ruleset);
    t.strictSame(await drift(next, ruleset), []);
    t.equal(await asks(cgroup), "passes");
    await remove(cgroup);
  });

  await t.test(
    "the cgroups' storage that loses its pin while no agent runs is made again by the next one",
    async (t) => {
      const { node, cgroup, enforcer, ruleset } = await scene("storage", "service", {
        egress: udp(sink.ports.allowed),
      });
      await enforcer.close();
      const maps = nodeFolders(DEFAULT_PIN_ROOT, node).maps;
      // Before there is a cgroup with programs of its own, and when there is one.
      for (const what of ["a newborn", "an attached one"]) {
        make(cgroup);
        const service = await Prober.start(t, sandbox, { cgroup, namespace: inside }, { host: PEER, ...sink.ports });
        if (what === "an attached one") {
          const agent = sandbox.enforcer(node);
          await agent.open();
          await agent.apply(ruleset);
          await agent.close();
        }
        rmSync(join(maps, "ztap_cgroup"));
        const next = sandbox.enforcer(node);
        await next.open();
        t.not((await drift(next, ruleset)).length, 0, `${what}: it is seen`);
        await next.apply(ruleset);
        t.strictSame(await drift(next, ruleset), [], `${what}: and healed`);
        const { refused } = await service.counters();
        await waitUntil(async () => (await service.counters()).refused.forbidden > refused.forbidden + 50, {
          what: "fifty refusals",
        });
        t.equal((await service.counters()).sent.forbidden, 0, `${what}: nothing forbidden left`);
        await service.end();
        await remove(cgroup);
        await restart(t, cgroup, PEER, sink.ports, `${what}: the next one`);
        await next.close();
      }
    },
  );

  await t.test("a connection that no program saw begin is refused", async (t) => {
    const [cgroup, node] = [sandbox.cgroup("unseen"), sandbox.node("unseen")];
    const service = await sandbox.actor({ cgroup, namespace: inside });
    const older = await service.call("tcpConnect", { host: PEER, port: served });
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    const ruleset = rulesetOf(node, { "demo/web": { cgroup, egress: tcp(served), ingress: NOTHING } });
    await enforcer.apply(ruleset);
    t.strictSame(await drift(enforcer, ruleset), []);
    await echoes(t, service, older.id, "older", "one that is older than the programs goes on");

    const native = loadNative();
    const { links } = nodeFolders(DEFAULT_PIN_ROOT, node);
    for (const pin of ["ingress", "egress"])
      withPin(native, join(linkFolder(links, "demo/web"), pin), native.linkDetach);
    const unseen = await service.call("tcpConnect", { host: PEER, port: served });
    await echoes(t, service, unseen.id, "between", "somebody detached the programs");
    await enforcer.apply(ruleset);
    t.strictSame(await drift(enforcer, ruleset), [], "they are back");
    await isRefused(enforcer, ruleset, "egress", () => service.call("tcpSend", { id: unseen.id, text: "late" }));
    t.notMatch((await service.call("tcpReceived", { id: unseen.id })).text, /late/u, "one from between does not go on");
    const { id } = await service.call("tcpConnect", { host: PEER, port: served });
    await echoes(t, service, id, "new", "a new one does");
    await echoes(t, service, older.id, "still", "and the older one");
  });
});
