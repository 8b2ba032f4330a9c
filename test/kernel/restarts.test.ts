/**
 * Restarts: services that start again all the time, beside busy processes, while their agent is killed and started. Nothing that is
 * forbidden leaves, and nothing that is allowed is refused.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { Ztap } from "../cli/ztap.js";
import { volume } from "../volume.js";
import { HANG_MS, pause, waitUntil } from "../wait.js";
import { Prober, type Ports } from "./prober.js";
import { Sandbox, whyNot } from "./sandbox.js";

const reason = whyNot();
await t.test("restarts", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const [OWN, PEER] = ["10.216.0.1", "10.216.0.2"];
  const RESTARTS = volume(20, 500);
  const RESTARTS_PER_KILL = 5;
  const sandbox = new Sandbox(t);
  const ztap = new Ztap(t);
  const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);
  const sink = await Prober.start(t, sandbox, { namespace: outside }, { host: OWN, allowed: 0, forbidden: 0 });
  const node = sandbox.node("restarts");
  const services = {
    shut: { ports: { allowed: sink.ports.forbidden, forbidden: sink.ports.forbidden }, isShut: true },
    half: { ports: sink.ports, isShut: false },
  } as const;
  const cgroupOf = (name: string): string => {
    sandbox.cgroup(name);
    return join(sandbox.cgroupPathOf(name), "service");
  };
  const manifest = Object.keys(services)
    .map(
      (name) =>
        `apiVersion: ztap/v1\nkind: Workload\nmetadata: { name: ${name}, labels: { app: ${name} } }\n` +
        `spec: { node: ${node}, cgroup: ${cgroupOf(name)} }\n`,
    )
    .concat(
      `apiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: { name: shut }\n` +
        `spec: { podSelector: { matchLabels: { app: shut } }, ingress: [], egress: [] }\n`,
      `apiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: { name: half }\n` +
        `spec: { podSelector: { matchLabels: { app: half } }, egress: [{ ports: [{ port: ${sink.ports.allowed}, protocol: UDP }] }] }\n`,
    )
    .join("---\n");
  ztap.write("state/all.yaml", manifest);
  const env = { ZTAP_NODE: node, ZTAP_LISTEN: "off", ZTAP_CHECK_INTERVAL: "200ms" };
  t.match(await ztap.run(["apply", "state", "--auto-approve"], { env }), { code: 0 });
  let agent = ztap.start(["agent"], { env });
  await agent.says("enforcing revision 1");

  const busy = Array.from({ length: volume(4, 60) }, () => spawn("sh", ["-c", "while :; do :; done"]));
  t.teardown(async () => {
    for (const one of busy) {
      one.kill("SIGKILL");
      if (one.exitCode === null && one.signalCode === null) await once(one, "exit");
    }
  });

  const remove = (path: string): Promise<unknown> =>
    waitUntil(
      () => {
        try {
          rmdirSync(path);
        } catch {
          // Its last process is not gone yet.
        }
        return !existsSync(path);
      },
      { what: `the end of ${path}` },
    );
  const totals = { sent: 0, leaked: 0, refused: 0 };
  const restart = async (name: string, ports: Ports, isShut: boolean): Promise<void> => {
    const path = join(sandbox.cgroupRoot, cgroupOf(name));
    mkdirSync(path);
    const place = { cgroup: cgroupOf(name), namespace: inside };
    const service = await Prober.start(t, sandbox, place, { host: PEER, ...ports });
    await waitUntil(async () => (await service.counters()).refused.forbidden > 50, { what: "fifty refusals" });
    const { sent, refused } = await service.counters();
    totals.leaked += sent.forbidden + (isShut ? sent.allowed : 0);
    totals.refused += isShut ? 0 : refused.allowed;
    totals.sent += isShut ? 0 : sent.allowed;
    await service.end();
    await remove(path);
  };
  const began = performance.now();
  const all = Promise.all(
    Object.entries(services).map(async ([name, { ports, isShut }]) => {
      for (let at = 0; at < RESTARTS; at++) await restart(name, ports, isShut);
    }),
  );
  let kills = 0;
  const ended = all.then(() => true);
  while (!(await Promise.race([ended, pause(200 * RESTARTS_PER_KILL).then(() => false)]))) {
    await agent.stop("SIGKILL");
    kills += 1;
    agent = ztap.start(["agent"], { env });
    await agent.says("enforcing revision 1");
  }
  await all;
  const perMinute = Math.round((2 * RESTARTS * 60_000) / (performance.now() - began));
  t.comment(
    `${2 * RESTARTS} restarts, ${perMinute} a minute, ${kills} kills of the agent, ${totals.sent} packets allowed`,
  );
  t.equal(totals.leaked, 0, "nothing forbidden left");
  t.equal(totals.refused, 0, "nothing allowed was refused");
  t.ok(totals.sent > 0, "what is allowed left");
  t.equal((await sink.counters()).got.forbidden, 0, "nothing forbidden arrived");
  await agent.stop();
});
