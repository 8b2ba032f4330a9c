/** Audit mode tells a conversation once, and none can hide behind another. */
import t, { type Test } from "tap";
import { Bench } from "./bench.js";
import { checkedBetween, icmp, tcp, udp } from "./packets.js";
import { AF, RawActor, SOCK } from "./raw-actor.js";
import { collect } from "./records.js";
import { rulesetOf, type Isolation, type WorkloadSpec } from "./rulesets.js";
import { packets, Sandbox, whyNot } from "./sandbox.js";
import { waitUntil } from "../wait.js";

const reason = whyNot();
if (reason !== null) t.plan(0, `SKIP kernel tests: ${reason}`);
else {
  const sandbox = new Sandbox(t);

  await t.test("an audited flow emits one event, and its replies emit none", async (t) => {
    const bench = new Bench(t);
    const audit: Isolation = { mode: "audit", allow: [] };
    const ruleset = rulesetOf("bench", { "demo/audit": { cgroup: "a", ingress: audit, egress: audit } });
    await bench.load(ruleset);
    const records = collect(t, bench.events);
    const out = { from: "10.0.0.1", to: "192.0.2.7" };
    const back = { from: "192.0.2.7", to: "10.0.0.1" };
    const talk = (): void => {
      for (let round = 0; round < 3; round += 1) {
        bench.passes("demo/audit", "egress", { ...out, protocol: 17, payload: udp(2000, 53) });
        bench.passes("demo/audit", "ingress", { ...back, protocol: 17, payload: udp(53, 2000) });
        bench.passes("demo/audit", "ingress", { ...back, protocol: 17, payload: udp(3000, 4000) });
        bench.passes("demo/audit", "egress", { ...out, protocol: 17, payload: udp(4000, 3000) });
        bench.passes("demo/audit", "egress", { ...out, protocol: 1, payload: icmp(8, 0, 7) });
        bench.passes("demo/audit", "ingress", { ...back, protocol: 1, payload: icmp(0, 0, 7) });
      }
    };
    const told = [
      { verdict: "audited", direction: "egress", localPort: 2000, peerPort: 53 },
      { verdict: "audited", direction: "ingress", localPort: 4000, peerPort: 3000 },
      { verdict: "audited", direction: "egress", icmp: { type: 8, code: 0 } },
    ];
    talk();
    await waitUntil(() => records.length >= 3, { what: "three events" });
    talk();
    t.equal(bench.events.statistics().eligible, 3n);
    t.match(records.splice(0), told);
    t.equal(
      bench.counted().packets.reduce((sum, { verdict, packets }) => sum + (verdict === "audited" ? packets : 0n), 0n),
      36n,
      "and each packet is counted",
    );
    await bench.load(ruleset);
    talk();
    await waitUntil(() => records.length >= 3, { what: "three events" });
    t.equal(bench.events.statistics().eligible, 6n);
    t.match(records, told, "another ruleset is another decision");
  });

  await t.test("an audited connection of real processes emits one event, whichever side began it", async (t) => {
    const OWN = "10.208.0.1";
    const PEER = "10.208.0.2";
    const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);
    const cgroup = sandbox.cgroup("audited");
    const node = sandbox.node("audited");
    const web = await sandbox.actor({ cgroup, namespace: inside });
    const peer = await sandbox.actor({ namespace: outside });
    const audit: Isolation = { mode: "audit", allow: [] };
    const ruleset = rulesetOf(node, { "demo/web": { cgroup, ingress: audit, egress: audit } });
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    await enforcer.apply(ruleset);
    if (enforcer.flowSource === null) throw new Error("it tells nothing");
    const records = collect(t, enforcer.flowSource);
    await enforcer.observe(ruleset);
    for (const [client, server, host] of [
      [web, peer, PEER],
      [peer, web, OWN],
    ] as const) {
      const { port } = await server.call("tcpListen", { host, port: 0 });
      const { id } = await client.call("tcpConnect", { host, port });
      for (const word of ["a", "b", "c"]) {
        await client.call("tcpSend", { id, text: word });
        await client.call("tcpWait", { id, text: word });
      }
    }
    await waitUntil(() => records.length >= 2, { what: "an event of each side" });
    // Whatever was told before it has been read when this one is.
    await web.call("tcpConnect", { host: PEER, port: 9 });
    await waitUntil(() => records.some(({ peerPort }) => peerPort === 9), { what: "the event of the last call" });
    t.match(records, [
      { verdict: "audited", direction: "egress", peer: PEER },
      { verdict: "audited", direction: "ingress", peer: PEER },
      { verdict: "audited", direction: "egress", peerPort: 9 },
    ]);
    t.equal(records.length, 3);
  });

  const audit = (...ports: string[]): Isolation => ({ mode: "audit", allow: [{ peers: "any", ports }] });
  /** An enforcer over one workload, in the first of two namespaces, and what it tells. */
  const watch = async (t: Test, name: string, net: string) => {
    const [own, peer] = [`${net}.1`, `${net}.2`];
    const [inside, outside] = sandbox.network([`${own}/24`], [`${peer}/24`]);
    const cgroup = sandbox.cgroup(name);
    const node = sandbox.node(name);
    const enforcer = sandbox.enforcer(node);
    const rulesetOfSpec = (spec: Omit<WorkloadSpec, "cgroup">) => rulesetOf(node, { "demo/web": { cgroup, ...spec } });
    await enforcer.open();
    await enforcer.apply(rulesetOfSpec({}));
    const source = enforcer.flowSource;
    if (source === null) throw new Error("it tells nothing");
    const records = collect(t, source);
    const apply = async (spec: Omit<WorkloadSpec, "cgroup">): Promise<void> => {
      await enforcer.apply(rulesetOfSpec(spec));
      await enforcer.observe(rulesetOfSpec(spec));
    };
    const audited = async (): Promise<bigint> =>
      packets(await enforcer.observe(rulesetOfSpec({})), "egress", "audited");
    /** What was told so far, once it is at least so much. */
    const told = async (count = 0) => {
      await waitUntil(() => records.length >= count && BigInt(records.length) >= source.statistics().delivered, {
        what: "the events that were delivered",
      });
      return records.map(({ verdict, direction, peerPort, localPort }) => [
        verdict,
        direction,
        direction === "egress" ? peerPort : localPort,
      ]);
    };
    return { own, peer, inside, outside, cgroup, apply, audited, told };
  };

  await t.test("a reused socket emits an event for each of its connections, and none twice for a SYN", async (t) => {
    const { peer, inside, outside, cgroup, apply, audited, told } = await watch(t, "again", "10.209.0");
    const server = await sandbox.actor({ namespace: outside });
    const { port: good = 0 } = await server.call("tcpListen", { host: peer, port: 0 });
    const { port: bad = 0 } = await server.call("tcpListen", { host: peer, port: 0 });
    await apply({ egress: audit(`tcp/${good}`) });
    const web = await RawActor.start(t, sandbox, { cgroup, namespace: inside });
    const calls = [good, bad, bad, good, bad, 9, 9];
    t.same(
      (await web.command(`dial ${peer} ${calls.join(" ")}`)).trim().split(" "),
      calls.map((port) => (port === 9 ? "ECONNREFUSED" : "ok")),
    );
    const each = calls.map((port) => [port === good ? "allowed" : "audited", "egress", port]);
    t.same(await told(), each);

    // Nobody answers: the kernel asks again after a second.
    sandbox.lose(inside, "10.209.0.77");
    const before = await audited();
    const caller = await sandbox.actor({ cgroup, namespace: inside });
    void caller.call("tcpConnect", { host: "10.209.0.77", port: 7 });
    await waitUntil(async () => (await audited()) >= before + 2n, { what: "both refusals" });
    t.same(await told(), [...each, ["audited", "egress", 7]]);
  });

  await t.test("a connection accepted before it was forbidden emits an event, in any TCP state", async (t) => {
    const { own, inside, outside, cgroup, apply, told } = await watch(t, "idle", "10.210.0");
    const web = await sandbox.actor({ cgroup, namespace: inside });
    const peer = await sandbox.actor({ namespace: outside });
    const { port = 0 } = await web.call("tcpListen", { host: own, port: 0 });
    await apply({ ingress: audit(`tcp/${port}`) });
    const { id: idle } = await peer.call("tcpConnect", { host: own, port });
    const { id: busy } = await peer.call("tcpConnect", { host: own, port });
    const say = async (id: number | undefined): Promise<void> => {
      for (const text of ["p", "q", "r"]) {
        await peer.call("tcpSend", { id, text });
        await peer.call("tcpWait", { id, text });
      }
      // The last acknowledgement may be late. It would belong to the next ruleset, and emit an event of its own.
      await waitUntil(() => sandbox.isAcknowledged(inside), { what: "the acknowledgement of what was said" });
    };
    const opened = ["allowed", "ingress", port];
    const forbidden = ["audited", "ingress", port];
    await say(busy);
    t.same(await told(), [opened, opened]);
    await apply({ ingress: audit("tcp/1") });
    await peer.call("tcpConnect", { host: own, port });
    t.same(await told(), [opened, opened, forbidden], "a connection of the same listener that begins");
    await say(idle);
    t.same(await told(), [opened, opened, forbidden, forbidden]);
    await say(busy);
    t.same(await told(), [opened, opened, forbidden, forbidden, forbidden]);
    await apply({ ingress: audit("tcp/2") });
    await say(busy);
    t.same(await told(), [opened, opened, forbidden, forbidden, forbidden, forbidden]);
  });

  await t.test("a packet to a listener without a handshake emits an event", async (t) => {
    const { own, peer, inside, outside, cgroup, apply, told } = await watch(t, "scan", "10.211.0");
    const web = await sandbox.actor({ cgroup, namespace: inside });
    const { port = 0 } = await web.call("tcpListen", { host: own, port: 0 });
    await apply({ ingress: audit("tcp/1") });
    const scanner = await RawActor.start(t, sandbox, { namespace: outside });
    const raw = await scanner.socket(AF.inet, SOCK.raw, 6);
    for (const [from, flags] of [
      [4001, 0x10],
      [4002, 0x01],
      [4002, 0x01],
      [4003, 0x02],
    ] as const)
      t.equal(await scanner.send(raw, own, 0, checkedBetween(peer, own, 6, tcp(from, port, flags))), "ok");
    t.same(
      await told(4),
      Array.from({ length: 4 }, () => ["audited", "ingress", port]),
    );
  });

  await t.test("a flow whose event found no room in the ring emits it later", async (t) => {
    const bench = new Bench(t);
    const shut: Isolation = { mode: "audit", allow: [] };
    await bench.load(rulesetOf("bench", { "demo/web": { cgroup: "w", ingress: shut, egress: shut } }));
    const out = { from: "10.0.0.1", to: "192.0.2.7", protocol: 17 };
    const send = (port: number): void => void bench.passes("demo/web", "egress", { ...out, payload: udp(2000, port) });
    let port = 1000;
    for (let limited = 0n; limited === 0n; limited = bench.events.statistics().limited) send((port += 1));
    t.not(port, 1001);
    const records = collect(t, bench.events);
    const ofIt = () => records.filter(({ peerPort }) => peerPort === port).length;
    await waitUntil(
      () => {
        send(port);
        return ofIt() > 0;
      },
      { what: "an event" },
    );
    const { eligible: worth } = bench.events.statistics();
    for (let again = 0; again < 20; again += 1) send(port);
    t.equal(bench.events.statistics().eligible, worth, "and once");
    t.equal(ofIt(), 1);
  });

  await t.test("a reply of a flow older than the ban emits an event in the direction of its initiator", async (t) => {
    const bench = new Bench(t);
    const open: Isolation = { mode: "audit", allow: [{ peers: "any", ports: ["udp/53"] }] };
    const shut: Isolation = { mode: "audit", allow: [] };
    await bench.load(rulesetOf("bench", { "demo/web": { cgroup: "w", ingress: shut, egress: open } }));
    const records = collect(t, bench.events);
    const ask = { from: "10.0.0.1", to: "192.0.2.7", protocol: 17, payload: udp(2000, 53) };
    const answer = { from: "192.0.2.7", to: "10.0.0.1", protocol: 17, payload: udp(53, 2000) };
    bench.passes("demo/web", "egress", ask);
    await bench.load(rulesetOf("bench", { "demo/web": { cgroup: "w", ingress: shut, egress: shut } }));
    for (let round = 0; round < 3; round += 1) {
      bench.passes("demo/web", "ingress", answer);
      bench.passes("demo/web", "egress", ask);
    }
    await waitUntil(() => BigInt(records.length) === bench.events.statistics().delivered, {
      what: "the events that were delivered",
    });
    t.match(records, [
      { verdict: "allowed", direction: "egress", localPort: 2000, peerPort: 53 },
      { verdict: "audited", direction: "egress", localPort: 2000, peerPort: 53 },
    ]);
    t.equal(records.length, 2);
  });
}
