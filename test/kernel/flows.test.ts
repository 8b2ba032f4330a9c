import { inspectEnforcement } from "../../src/adapters/ebpf/inspect.js";
import { join } from "node:path";
import t from "tap";
import { ABI } from "../../src/adapters/ebpf/kernel/abi.generated.js";
import { closeObject } from "../../src/adapters/ebpf/kernel/load.js";
import { defaultNativeDir, loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import { removeNodes } from "../../src/adapters/ebpf/remove.js";
import type { FlowRecord } from "../../src/interfaces/flows.js";
import { Bench } from "./bench.js";
import { icmp, tcp, udp } from "./packets.js";
import { collect } from "./records.js";
import { rulesetOf, type Isolation, type WorkloadSpec } from "./rulesets.js";
import { Sandbox, whyNot } from "./sandbox.js";
import { waitUntil } from "../wait.js";

const reason = whyNot();
if (reason !== null) t.plan(0, `SKIP kernel tests: ${reason}`);
else {
  const sandbox = new Sandbox(t);
  const allow = (...ports: string[]): Isolation => ({ allow: [{ peers: "any", ports }] });

  await t.test("events are emitted for denied and audited packets, and not for others", async (t) => {
    const bench = new Bench(t);
    await bench.load(
      rulesetOf("bench", {
        "demo/audit": { cgroup: "a", egress: { mode: "audit", allow: [] } },
        "demo/open": { cgroup: "o" },
        "demo/web": { cgroup: "w", ingress: { allow: [] }, egress: allow("tcp/80", "udp/53", "icmp/2048") },
      }),
    );
    const records = collect(t, bench.events);
    const ends = { from: "10.0.0.1", to: "192.0.2.7" };
    const back = { from: "192.0.2.7", to: "10.0.0.1" };
    const ends6 = { from: "fd00::1", to: "2001:db8::7" };
    const seen = async (count: number): Promise<readonly FlowRecord[]> => {
      await waitUntil(() => records.length >= count, { what: "the events" });
      return records.splice(0);
    };
    const run = (workload: string, direction: "ingress" | "egress", spec: Parameters<Bench["passes"]>[2]): boolean =>
      bench.passes(workload, direction, spec);

    run("demo/web", "egress", { ...ends, protocol: 6, payload: tcp(1000, 80) });
    run("demo/web", "egress", { ...ends, protocol: 6, payload: tcp(1000, 80, 0x10) });
    run("demo/web", "egress", { ...ends, protocol: 17, payload: udp(2000, 53) });
    run("demo/web", "egress", { ...ends, protocol: 17, payload: udp(2000, 53) });
    run("demo/web", "ingress", { ...back, protocol: 17, payload: udp(53, 2000) });
    run("demo/web", "ingress", { ...back, protocol: 17, payload: udp(54, 2000) });
    run("demo/web", "egress", { ...ends, protocol: 1, payload: icmp(8, 0, 7) });
    run("demo/web", "egress", { ...ends6, protocol: 58, payload: icmp(129, 3) });
    run("demo/audit", "egress", { ...ends6, protocol: 6, payload: tcp(1, 2, 0x10) });
    run("demo/open", "egress", { ...ends, protocol: 17, payload: udp(1, 2) });
    run("demo/web", "egress", { ...ends, protocol: 47 });
    const common = { hook: "packet", icmp: null };
    const rule = { key: "demo/web/egress/0" };
    t.match(await seen(8), [
      {
        ...common,
        workload: "demo/web",
        direction: "egress",
        verdict: "allowed",
        rule,
        protocol: 6,
        peer: "192.0.2.7",
        peerPort: 80,
        localPort: 1000,
      },
      {
        ...common,
        workload: "demo/web",
        direction: "egress",
        verdict: "allowed",
        rule,
        protocol: 17,
        peer: "192.0.2.7",
        peerPort: 53,
        localPort: 2000,
      },
      {
        ...common,
        workload: "demo/web",
        direction: "ingress",
        verdict: "denied",
        rule: null,
        protocol: 17,
        peer: "192.0.2.7",
        peerPort: 54,
        localPort: 2000,
      },
      { verdict: "allowed", rule, protocol: 1, peer: "192.0.2.7", peerPort: null, icmp: { type: 8, code: 0 } },
      { verdict: "denied", rule: null, protocol: 1, peer: "2001:db8::7", icmp: { type: 129, code: 3 } },
      { workload: "demo/audit", verdict: "audited", rule: null, peer: "2001:db8::7", peerPort: 2, localPort: 1 },
      { workload: "demo/open", verdict: "allowed", rule: null, peerPort: 2 },
      { workload: "demo/web", verdict: "denied", protocol: 47, peerPort: null, localPort: null },
    ]);
    const clock = Date.now();
    run("demo/web", "ingress", { ...back, protocol: 17, payload: udp(54, 2000) });
    const [one] = await seen(1);
    t.ok(Math.abs((one?.timeMs ?? 0) - clock) < 60_000, "the time is the machine's");
    const { eligible: worth, delivered } = bench.events.statistics();
    t.same([worth, delivered], [9n, 9n]);
  });

  await t.test("under a flood the event statistics add up, and every delivered event is read", async (t) => {
    const bench = new Bench(t);
    const names = Array.from({ length: ABI.TEST_SUBJECTS }, (_unused, at) => `demo/w${at}`);
    const shut: Omit<WorkloadSpec, "cgroup"> = { ingress: { allow: [] }, egress: { allow: [] } };
    await bench.load(rulesetOf("bench", Object.fromEntries(names.map((name) => [name, { cgroup: name, ...shut }]))));
    const flood = (count: number): void => {
      for (const name of names) {
        const ends = { from: "10.0.0.1", to: "192.0.2.7", protocol: 6, payload: tcp(1, 2) };
        for (const direction of ["ingress", "egress"] as const) bench.time(name, direction, ends, count);
      }
    };
    const COUNT = 700;
    flood(COUNT);
    const statistics = bench.events.statistics();
    t.equal(statistics.eligible, BigInt(2 * names.length * COUNT));
    t.equal(statistics.eligible, statistics.delivered + statistics.limited + statistics.lost);
    t.ok(statistics.limited > 0n && statistics.lost > 0n && statistics.delivered > 0n, "of each there is some");
    const denied = bench.counted().packets.filter(({ verdict }) => verdict === "denied");
    t.equal(
      denied.reduce((sum, { packets }) => sum + packets, 0n),
      statistics.eligible,
      "each denied packet was worth telling",
    );

    const records = collect(t, bench.events);
    flood(50);
    await waitUntil(() => BigInt(records.length) === bench.events.statistics().delivered, {
      what: "the events that were delivered",
    });
    const after = bench.events.statistics();
    t.equal(after.eligible, after.delivered + after.limited + after.lost);
    t.ok(records.every(({ verdict, workload }) => verdict === "denied" && workload !== null));
  });

  await t.test("connections of real processes, refused calls, and events emitted while no agent reads", async (t) => {
    const OWN = "10.207.0.1";
    const PEER = "10.207.0.2";
    const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);
    const cgroup = sandbox.cgroup("real");
    const node = sandbox.node("real");
    const web = await sandbox.actor({ cgroup, namespace: inside });
    const peer = await sandbox.actor({ namespace: outside });
    const { port } = await peer.call("tcpListen", { host: PEER, port: 0 });
    const { port: served } = await web.call("tcpListen", { host: OWN, port: 0 });
    const ruleset = rulesetOf(node, {
      "demo/web": { cgroup, ingress: allow(`tcp/${served}`), egress: allow(`tcp/${port}`) },
    });
    const first = sandbox.enforcer(node);
    await first.open();
    await first.apply(ruleset);
    await first.close();
    const { id } = await web.call("tcpConnect", { host: PEER, port });
    for (const word of ["a", "b", "c"]) {
      await web.call("tcpSend", { id, text: word });
      await web.call("tcpWait", { id, text: word });
    }
    t.match(await web.call("tcpConnect", { host: PEER, port: 9 }), { code: "EPERM" });
    await peer.call("tcpConnect", { host: OWN, port: served });
    const next = sandbox.enforcer(node);
    await next.open();
    const source = next.flowSource;
    if (source === null) throw new Error("it tells nothing");
    const records = collect(t, source);
    await next.observe(ruleset);
    await waitUntil(() => records.length >= 3, { what: "three events" });
    t.match(records, [
      {
        workload: "demo/web",
        verdict: "allowed",
        direction: "egress",
        hook: "packet",
        peer: PEER,
        peerPort: port,
        rule: { key: "demo/web/egress/0" },
      },
      {
        workload: "demo/web",
        verdict: "denied",
        direction: "egress",
        hook: "call",
        peer: PEER,
        peerPort: 9,
        localPort: null,
        rule: null,
      },
      {
        workload: "demo/web",
        verdict: "allowed",
        direction: "ingress",
        localPort: served,
        rule: { key: "demo/web/ingress/0" },
      },
    ]);
    t.equal(records.length, 3, "an established connection is told once");
  });

  await t.test("programs of other software on the same cgroup are listed, and left attached", async (t) => {
    const cgroup = sandbox.cgroup("shared");
    const node = sandbox.node("mine");
    const ruleset = rulesetOf(node, { "demo/web": { cgroup, egress: { allow: [] } } });
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    await enforcer.apply(ruleset);
    const found = () => inspectEnforcement().find((one) => one.node === node)?.foreign ?? [];
    t.strictSame(found(), []);
    // Over maps of its own, where nothing was ever written, it lets every call pass.
    const native = loadNative();
    const theirs = native.loadObject(
      join(defaultNativeDir(), "ztap.bpf.o"),
      "",
      ["ztap_connect4"],
      ["ztap_test_subjects"],
    );
    const program = theirs.programs["ztap_connect4"] ?? -1;
    const link = native.linkCreate(program, join(sandbox.cgroupRoot, cgroup), "connect4");
    t.teardown(() => {
      native.closeFd(link);
      closeObject(native, theirs);
    });
    const foreign = [{ cgroup, hook: "connect4", programId: native.programInfo(program).id }];
    t.strictSame(found(), foreign);
    await enforcer.apply(ruleset);
    await enforcer.apply(rulesetOf(node, {}));
    await enforcer.apply(ruleset);
    t.strictSame(found(), foreign);
    await enforcer.close();
    removeNodes({ node });
    t.strictSame(native.attached(join(sandbox.cgroupRoot, cgroup), "connect4"), [native.programInfo(program).id]);
  });
}
