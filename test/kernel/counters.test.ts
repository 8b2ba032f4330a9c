import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import t from "tap";
import { ABI } from "../../src/adapters/ebpf/kernel/abi.generated.js";
import { loadNative } from "../../src/adapters/ebpf/kernel/native.js";
import { DEFAULT_PIN_ROOT, nodeFolders } from "../../src/adapters/ebpf/kernel/paths.js";
import type { Direction } from "../../src/model/ruleset.js";
import type { Observation } from "../../src/interfaces/enforcer.js";
import { drift } from "./drift.js";
import { Bench } from "./bench.js";
import { tcp, udp } from "./packets.js";
import { rulesetOf, type Isolation } from "./rulesets.js";
import { Sandbox, whyNot } from "./sandbox.js";
import { waitUntil } from "../wait.js";

const reason = whyNot();
if (reason !== null) t.plan(0, `SKIP kernel tests: ${reason}`);
else {
  const OWN = "10.206.0.1";
  const PEER = "10.206.0.2";
  const sandbox = new Sandbox(t);
  const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);
  const allow = (...ports: string[]): Isolation => ({ allow: [{ peers: "any", ports }] });
  const rule = ({ counters }: Pick<Observation, "counters">, key: string): number => Number(counters.rules.get(key));

  await t.test("every packet is counted once, even if all processors count for one rule at once", async (t) => {
    const bench = new Bench(t);
    await bench.load(
      rulesetOf("bench", {
        "demo/open": { cgroup: "o" },
        "demo/web": { cgroup: "w", ingress: { allow: [] }, egress: allow("tcp/80", "udp/53") },
      }),
    );
    const ends = { from: OWN, to: PEER };
    const REPEAT = 300_000;
    const runs: readonly (readonly [string, Direction, Buffer, number])[] = [
      ["demo/web", "egress", tcp(1000, 80, 0x10), 6],
      ["demo/web", "egress", tcp(1001, 80, 0x10), 6],
      ["demo/web", "egress", udp(1000, 53), 17],
      ["demo/web", "egress", tcp(1000, 81), 6],
      ["demo/web", "ingress", tcp(1000, 80), 6],
      ["demo/open", "egress", tcp(1000, 80, 0x10), 6],
      ["demo/open", "egress", tcp(1000, 80, 0x10), 6],
    ];
    await Promise.all(
      runs.map(([workload, direction, payload, protocol]) =>
        inThread(bench.runOf(workload, direction, { ...ends, protocol, payload }, REPEAT)),
      ),
    );
    const { counters, packets } = bench.counted();
    t.equal(counters.rules.get("demo/web/egress/0"), BigInt(3 * REPEAT));
    t.match(counters.workloads.get("demo/web"), {
      ingress: { allowed: 0n, denied: BigInt(REPEAT), audited: 0n },
      egress: { allowed: 0n, denied: BigInt(REPEAT), audited: 0n },
    });
    t.match(counters.workloads.get("demo/open"), { egress: { allowed: BigInt(2 * REPEAT), denied: 0n } });
    t.equal(
      packets.reduce((sum, one) => sum + one.packets, 0n),
      BigInt(runs.length * REPEAT),
      "and the totals are the sum of all",
    );
    const statistics = bench.events.statistics();
    t.equal(statistics.eligible, BigInt(2 * REPEAT + 1), "what is denied, and the flow that began, are worth telling");
    t.equal(statistics.delivered + statistics.limited + statistics.lost, statistics.eligible, "and the books balance");
  });

  await t.test("an established connection, packet for packet, against the kernel's own numbers", async (t) => {
    const cgroup = sandbox.cgroup("tcp");
    const node = sandbox.node("tcp");
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    const web = await sandbox.actor({ cgroup, namespace: inside });
    const peer = await sandbox.actor({ namespace: outside });
    const { port } = await peer.call("tcpListen", { host: PEER, port: 0 });
    const ruleset = rulesetOf(node, { "demo/web": { cgroup, ingress: { allow: [] }, egress: allow(`tcp/${port}`) } });
    await enforcer.apply(ruleset);
    const { id } = await web.call("tcpConnect", { host: PEER, port });
    const exchange = async (word: string): Promise<void> => {
      await web.call("tcpSend", { id, text: word });
      await web.call("tcpWait", { id, text: word });
    };
    await exchange("begin");
    const counted = async (): Promise<number> => rule(await enforcer.observe(ruleset), "demo/web/egress/0");
    // A delayed acknowledgement may still be on its way when the exchange is over, and pass between the two readings.
    const settled = (): Promise<readonly [number, number]> => {
      let before = "";
      return waitUntil(
        async () => {
          const found = [await counted(), segments(web.pid)] as const;
          const isSame = String(found) === before;
          before = String(found);
          return isSame ? found : null;
        },
        { what: "counters that stand still" },
      );
    };
    const [countedBefore, segmentsBefore] = await settled();
    for (let at = 0; at < 300; at++) await exchange(`<${at}>`);
    const [countedAfter, segmentsAfter] = await settled();
    t.ok(segmentsAfter - segmentsBefore >= 600, `${segmentsAfter - segmentsBefore} segments`);
    t.equal(countedAfter - countedBefore, segmentsAfter - segmentsBefore);
  });

  await t.test("UDP: sent and refused packets are counted; a count continues as long as its rule exists", async (t) => {
    const cgroup = sandbox.cgroup("udp");
    const node = sandbox.node("udp");
    const web = await sandbox.actor({ cgroup, namespace: inside });
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    const spec = (egress: Isolation) => rulesetOf(node, { "demo/web": { cgroup, egress } });
    const ruleset = spec(allow("udp/5000"));
    await enforcer.apply(ruleset);
    const { id } = await web.call("udpBind", { host: OWN, port: 0 });
    const send = async (port: number, count: number): Promise<void> => {
      for (let at = 0; at < count; at++) await web.call("udpSend", { id, host: PEER, port, text: "x" });
    };
    await send(5000, 40);
    await send(5001, 7);
    const first = await enforcer.observe(ruleset);
    t.equal(rule(first, "demo/web/egress/0"), 40);
    t.match(first.counters.workloads.get("demo/web"), { egress: { denied: 0n }, refusedCalls: 7n });

    const wider: Isolation = { allow: [...allow("udp/5000").allow, { peers: "any", ports: ["udp/5001"] }] };
    await enforcer.apply(spec(wider));
    await send(5000, 5);
    await send(5001, 3);
    t.equal(rule(await enforcer.observe(spec(wider)), "demo/web/egress/0"), 45, "through another ruleset");
    t.equal(rule(await enforcer.observe(spec(wider)), "demo/web/egress/1"), 3);

    await enforcer.close();
    await send(5000, 5);
    const next = sandbox.enforcer(node);
    await next.open();
    t.equal(rule(await next.observe(spec(wider)), "demo/web/egress/0"), 50, "through another agent, and without one");

    await next.apply(ruleset);
    await next.apply(ruleset);
    await next.observe(ruleset);
    const folder = nodeFolders(DEFAULT_PIN_ROOT, node).maps;
    const native = loadNative();
    const places = native.openPin(join(folder, "ztap_rule_places"));
    t.teardown(() => native.closeFd(places));
    await waitUntil(
      async () => {
        await next.observe(ruleset);
        return native.mapRead(places).count === 1;
      },
      { what: "the end of the old slots" },
    );
    const total = ({ packets }: Observation): bigint => packets.reduce((sum, one) => sum + one.packets, 0n);
    t.equal(total(await next.observe(ruleset)), 53n, "what a rule had that went stays in the agent's totals");
    await next.apply(spec(wider));
    t.equal(rule(await next.observe(spec(wider)), "demo/web/egress/1"), 0, "a rule that comes back begins anew");
    t.equal(rule(await next.observe(spec(wider)), "demo/web/egress/0"), 50);
  });

  await t.test("more rules than counter slots: all rules are enforced, and every packet is counted", async (t) => {
    const bench = new Bench(t);
    const allow = Array.from({ length: ABI.RULE_SLOTS + 10 }, (_unused, at) => ({
      peers: [`10.${at >> 8}.${at & 255}.1/32`],
      ports: ["tcp/80"],
    }));
    await bench.load(rulesetOf("bench", { "demo/web": { cgroup: "w", egress: { allow } } }));
    const pass = (at: number): boolean =>
      bench.passes("demo/web", "egress", {
        from: OWN,
        to: `10.${at >> 8}.${at & 255}.1`,
        protocol: 6,
        payload: tcp(1000, 80, 0x10),
      });
    t.ok(pass(0) && pass(allow.length - 1));
    const { counters, packets } = bench.counted();
    t.equal(counters.rules.get("demo/web/egress/0"), 1n);
    t.equal(counters.rules.get(`demo/web/egress/${allow.length - 1}`), null, "it has no counter of its own");
    t.equal(packets.find(({ direction, verdict }) => direction === "egress" && verdict === "allowed")?.packets, 2n);
  });

  await t.test("a removed counter slot is drift, and is assigned again", async (t) => {
    const cgroup = sandbox.cgroup("place");
    const node = sandbox.node("place");
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    const ruleset = rulesetOf(node, { "demo/web": { cgroup, egress: allow("udp/5000") } });
    await enforcer.apply(ruleset);
    const native = loadNative();
    const pin = native.openPin(join(nodeFolders(DEFAULT_PIN_ROOT, node).maps, "ztap_subject_places"));
    t.teardown(() => native.closeFd(pin));
    native.mapDelete(pin, native.mapRead(pin).keys);
    t.match(await drift(enforcer, ruleset), [
      /^isolation of newborn cgroups of demo\/web is not what it should be .* misplaced\)$/,
      /^isolation of demo\/web is not what it should be .* misplaced\)$/,
    ]);
    await enforcer.apply(ruleset);
    t.strictSame(await drift(enforcer, ruleset), []);
  });
}

/** Runs a program on a thread of its own, so that several run at once. */
function inThread(run: { readonly addon: string; readonly args: readonly unknown[] }): Promise<void> {
  const code = `const { workerData } = require("node:worker_threads");
    const [fd, packet, cb, repeat] = workerData.args;
    require(workerData.addon).testRun(fd, Buffer.from(packet), cb, repeat);`;
  return new Promise((resolve, reject) => {
    const worker = new Worker(code, { eval: true, workerData: run });
    worker.once("error", reject);
    worker.once("exit", (status) => (status === 0 ? resolve() : reject(new Error(`the thread ended with ${status}`))));
  });
}

/** TCP segments that the process's network namespace has sent and received. */
function segments(pid: number): number {
  const text = execFileSync("nsenter", ["-t", String(pid), "-n", "cat", "/proc/net/snmp"], { encoding: "utf8" });
  const [names = [], values = []] = text
    .split("\n")
    .filter((line) => line.startsWith("Tcp:"))
    .map((line) => line.split(" "));
  const value = (name: string): number => Number(values[names.indexOf(name)]);
  return value("InSegs") + value("OutSegs") + value("RetransSegs");
}
