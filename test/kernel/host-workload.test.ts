/**
 * The host as a workload: what is in no other workload is decided by the host's policy, from the first packet on. A cgroup of the
 * test is taken for the root of the hierarchy, so that the machine itself stays open. In a guest, which is there for the tests alone, it
 * is the root itself, to which the kernel's own sockets belong.
 */
import { mkdirSync, rmSync, rmdirSync } from "node:fs";
import { join, relative } from "node:path";
import t, { type Test } from "tap";
import { DEFAULT_PIN_ROOT, nodeFolders } from "../../src/adapters/ebpf/kernel/paths.js";
import { linkFolder } from "../../src/adapters/ebpf/attach/pins.js";
import type { Ruleset } from "../../src/model/ruleset.js";
import { HANG_MS, waitUntil } from "../wait.js";
import { drift } from "./drift.js";
import { Prober } from "./prober.js";
import { rulesetOf, type Isolation } from "./rulesets.js";
import { Sandbox, whyNot, type Actor, type Answer } from "./sandbox.js";

const reason = whyNot();
await t.test("the host as a workload", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const [OWN, PEER, LOOPBACK] = ["10.230.0.1", "10.230.0.2", "127.0.0.1"];
  const HOST = "demo/base@node";
  const SHUT: Isolation = { allow: [] };
  const sandbox = new Sandbox(t);
  const isGuest = process.env["ZTAP_EMULATED"] === "1";
  const machine = sandbox.cgroup("machine");
  const top = isGuest ? "" : machine;
  const below = (cgroup: string): string => (isGuest ? cgroup : relative(top, cgroup));
  const peers = sandbox.cgroup("peers");
  const [system, web] = [sandbox.cgroup("machine/system"), sandbox.cgroup("machine/apps/web")];
  // The kernel's own sockets in there are the host's.
  const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`], system);
  const node = sandbox.node("node");
  let enforcer = sandbox.enforcer(node, top);
  await enforcer.open();
  const [host, service, peer] = [
    await sandbox.actor({ namespace: inside, cgroup: system }),
    await sandbox.actor({ namespace: inside, cgroup: web }),
    await sandbox.actor({ namespace: outside, cgroup: peers }),
  ];
  const listen = async (actor: Actor, at: string, port = 0): Promise<number> =>
    (await actor.call("tcpListen", { host: at, port })).port ?? 0;
  const tcp = (port: number): Isolation => ({ allow: [{ peers: [`${PEER}/32`], ports: [`tcp/${port}`] }] });
  /** @param host its isolation, by direction */
  const rules = (
    isolated: { readonly ingress?: Isolation; readonly egress?: Isolation },
    workload: { readonly ingress?: Isolation; readonly egress?: Isolation } | null = {},
    others: Parameters<typeof rulesetOf>[1] = {},
  ): Ruleset =>
    rulesetOf(node, {
      [HOST]: { cgroup: null, isHost: true, addresses: [OWN], ...isolated },
      ...(workload === null ? {} : { "demo/web": { cgroup: below(web), addresses: [OWN], ...workload } }),
      ...(isGuest ? { "demo/peers": { cgroup: peers, addresses: [PEER] } } : {}),
      ...others,
    });
  const connects = async (from: Actor, to: string, port: number): Promise<Answer> =>
    from.call("tcpConnect", { host: to, port });
  /** The connection answers. */
  const talks = async (t: Test, actor: Actor, id: number | undefined, what: string): Promise<void> => {
    await actor.call("tcpSend", { id, text: what });
    t.match(await actor.call("tcpWait", { id, text: what }), { text: new RegExp(what) }, what);
  };
  const denied = async (ruleset: Ruleset): Promise<bigint> => {
    const counts = (await enforcer.observe(ruleset)).packets;
    return counts.reduce((sum, one) => sum + (one.verdict === "denied" ? one.packets : 0n), 0n);
  };
  /** It gets no answer, since a packet is refused. */
  const isRefused = async (t: Test, ruleset: Ruleset, act: () => Promise<Answer>, what: string): Promise<void> => {
    const before = await denied(ruleset);
    let answer: Answer | undefined;
    void act().then((found) => (answer = found));
    await waitUntil(async () => (await denied(ruleset)) > before, { what: `a refusal: ${what}` });
    t.equal(answer, undefined, what);
  };

  const [served, other] = [await listen(peer, "0.0.0.0"), await listen(peer, "0.0.0.0")];
  const [hosts, hidden] = [await listen(host, "0.0.0.0"), await listen(host, "0.0.0.0")];
  const webs = await listen(service, "0.0.0.0");
  const older = {
    out: (await connects(host, PEER, served)).id,
    into: (await connects(peer, OWN, hosts)).id,
    cut: (await connects(host, PEER, other)).id,
  };
  const policy = { ingress: tcp(hosts), egress: tcp(served) };

  await t.test("connections that policy does not allow are refused, both ways", async (t) => {
    const ruleset = rules(policy);
    const { subjects } = await enforcer.apply(ruleset);
    t.match(
      subjects.filter(({ workload }) => workload !== "demo/peers"),
      [
        { workload: HOST, state: "Enforced" },
        { workload: "demo/web", state: "Enforced" },
      ],
    );
    t.strictSame(await drift(enforcer, ruleset), []);
    await talks(t, host, older.out, "an older connection that is allowed goes on");
    await talks(t, peer, older.into, "and one that came in");
    await isRefused(
      t,
      ruleset,
      () =>
        host
          .call("tcpSend", { id: older.cut, text: "cut" })
          .then(() => host.call("tcpWait", { id: older.cut, text: "cut" })),
      "an older one that is not allowed is cut",
    );
    const fresh = await connects(host, PEER, served);
    await talks(t, host, fresh.id, "a new connection that is allowed");
    t.match(await connects(host, PEER, other), { code: "EPERM" }, "another is refused at once");
    const incoming = await connects(peer, OWN, hosts);
    await talks(t, peer, incoming.id, "one that comes in and is allowed");
    await isRefused(t, ruleset, () => connects(peer, OWN, hidden), "another that comes in");
    const udp = await host.call("udpBind", { host: "0.0.0.0", port: 0 });
    t.match(
      await host.call("udpSend", { id: udp.id, host: PEER, port: 9, text: "x" }),
      { code: "EPERM" },
      "a datagram",
    );
  });

  await t.test("another workload has its own policy alone", async (t) => {
    const ruleset = rules({ ingress: SHUT, egress: SHUT }, { ingress: tcp(webs), egress: tcp(other) });
    await enforcer.apply(ruleset);
    await talks(
      t,
      service,
      (await connects(service, PEER, other)).id,
      "what its policy allows, and the host's does not",
    );
    await talks(t, peer, (await connects(peer, OWN, webs)).id, "the same for what comes in");
    t.match(await connects(service, PEER, served), { code: "EPERM" });
    t.match(await connects(host, PEER, other), { code: "EPERM" }, "the host may not do what the workload may");
    await enforcer.apply(rules(policy, {}));
    await talks(t, service, (await connects(service, PEER, other)).id, "without a policy of its own it is open");
    t.match(await connects(host, PEER, other), { code: "EPERM" });
  });

  await t.test("over loopback the host may talk to itself, and to others as both policies say", async (t) => {
    const ruleset = rules({ ingress: SHUT, egress: SHUT }, {});
    await enforcer.apply(ruleset);
    for (const address of [LOOPBACK, OWN]) {
      await talks(t, host, (await connects(host, address, hosts)).id, `host to host at ${address}`);
      t.match(await connects(host, address, webs), { code: "EPERM" }, "host to workload");
      await isRefused(t, ruleset, () => connects(service, address, hosts), "workload to host");
    }
    const to = (address: string, port: number): Isolation => ({
      allow: [{ peers: [`${address}/32`], ports: [`tcp/${port}`] }],
    });
    await enforcer.apply(rules({ ingress: to(OWN, hosts), egress: to(OWN, webs) }, {}));
    await talks(t, host, (await connects(host, OWN, webs)).id, "host to workload, allowed");
    await talks(t, service, (await connects(service, OWN, hosts)).id, "workload to host, allowed");
  });

  await t.test("what is born is its workload's or the host's from the first packet", async (t) => {
    const sink = await Prober.start(
      t,
      sandbox,
      { namespace: outside, cgroup: peers },
      { host: OWN, allowed: 0, forbidden: 0 },
    );
    const udp = (port: number): Isolation => ({ allow: [{ peers: "any", ports: [`udp/${port}`] }] });
    const { allowed, forbidden } = sink.ports;
    const born = async (t: Test, name: string, ports: typeof sink.ports, what: string): Promise<void> => {
      const cgroup = join(machine, name);
      mkdirSync(join(sandbox.cgroupRoot, cgroup));
      const probe = await Prober.start(t, sandbox, { cgroup, namespace: inside }, { host: PEER, ...ports });
      await waitUntil(async () => (await probe.counters()).refused.forbidden > 200, { what: "two hundred refusals" });
      const { sent, refused } = await probe.counters();
      t.equal(sent.forbidden, 0, `${what}: nothing forbidden left`);
      t.equal(refused.allowed, 0, `${what}: nothing allowed was refused`);
      t.ok(sent.allowed > 0, `${what}: what is allowed left`);
      await probe.end();
      rmdirSync(join(sandbox.cgroupRoot, cgroup));
    };
    const ruleset = rules({ egress: udp(allowed) }, null, {
      "demo/born": { cgroup: below(join(machine, "born")), addresses: [OWN], egress: udp(forbidden) },
    });
    await enforcer.apply(ruleset);
    await born(t, "nobody", { allowed, forbidden }, "the host's");
    await born(t, "born", { allowed: forbidden, forbidden: allowed }, "the workload's");
    await enforcer.close();
    await born(t, "nobody", { allowed, forbidden }, "the host's, without an agent");
    await born(t, "born", { allowed: forbidden, forbidden: allowed }, "the workload's, without an agent");
    enforcer = sandbox.enforcer(node, top);
    await enforcer.open();
    t.strictSame(await drift(enforcer, ruleset), []);
  });

  await t.test("a cgroup that passes between the host and a workload is never open", async (t) => {
    const sink = await Prober.start(
      t,
      sandbox,
      { namespace: outside, cgroup: peers },
      { host: OWN, allowed: 0, forbidden: 0 },
    );
    const only: Isolation = { allow: [{ peers: "any", ports: [`udp/${sink.ports.allowed}`] }] };
    const [mine, theirs] = [rules({ egress: only }, { egress: only }), rules({ egress: only }, null)];
    await enforcer.apply(mine);
    const probe = await Prober.start(t, sandbox, { cgroup: web, namespace: inside }, { host: PEER, ...sink.ports });
    for (let at = 0; at < 10; at++) {
      const { forbidden } = (await probe.counters()).refused;
      await enforcer.apply(at % 2 === 0 ? theirs : mine);
      await waitUntil(async () => (await probe.counters()).refused.forbidden > forbidden + 50, { what: "refusals" });
    }
    const { sent, refused } = await probe.counters();
    t.equal(sent.forbidden, 0, "nothing forbidden left");
    t.equal(refused.allowed, 0, "nothing allowed was refused");
    await probe.end();
  });

  await t.test("the kernel's own answers are not the host's packets", async (t) => {
    await enforcer.apply(rules({ ingress: SHUT, egress: SHUT }, {}));
    t.match(await connects(peer, OWN, 1), { code: "ECONNREFUSED" }, "a port where nobody listens");
  });

  await t.test("agents come and go", async (t) => {
    const ruleset = rules(policy);
    await enforcer.apply(ruleset);
    const fresh = await connects(host, PEER, served);
    await enforcer.close();
    await talks(t, host, fresh.id, "a connection goes on without an agent");
    t.match(await connects(host, PEER, other), { code: "EPERM" }, "what is refused stays so");
    enforcer = sandbox.enforcer(node, top);
    await enforcer.open();
    t.strictSame(await drift(enforcer, ruleset), [], "the next agent finds it in force");
    await enforcer.apply(ruleset);
    await talks(t, host, fresh.id, "and goes on with the next one");
    await talks(t, peer, older.into, "so does one older than any of them");

    const links = linkFolder(nodeFolders(DEFAULT_PIN_ROOT, node).links, HOST);
    for (const hook of ["egress", "connect4"]) rmSync(join(links, hook));
    t.strictSame((await drift(enforcer, ruleset)).toSorted(), [
      `connect4 program on ${HOST} is not attached`,
      `egress program on ${HOST} is not attached`,
    ]);
    await enforcer.apply(ruleset);
    t.strictSame(await drift(enforcer, ruleset), [], "what somebody took off is attached again");
    t.match(await connects(host, PEER, other), { code: "EPERM" });
    await talks(t, host, fresh.id, "the connection goes on");

    // Attached again, they run after the host's programs.
    for (const guard of ["ingress", "egress"]) rmSync(join(nodeFolders(DEFAULT_PIN_ROOT, node).births, guard));
    await enforcer.apply(ruleset);
    await talks(t, host, (await connects(host, LOOPBACK, hosts)).id, "host to host, whichever program is first");
  });

  await t.test("without a policy the host is as it was", async (t) => {
    const lifted = rules({}, {});
    await enforcer.apply(lifted);
    t.strictSame(await drift(enforcer, lifted), []);
    await talks(t, host, (await connects(host, PEER, other)).id, "everything is open");
    const later = (await connects(peer, OWN, hidden)).id;
    await enforcer.apply(rules({ ingress: tcp(hidden), egress: SHUT }, {}));
    await talks(t, peer, later, "a connection from meanwhile is known when there is a policy again");
    t.match(await connects(host, PEER, other), { code: "EPERM" });
  });
});
