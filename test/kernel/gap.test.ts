/**
 * No gap: with thousands of probes a second in both directions, of what is allowed and of what is forbidden,
 * the agent is stopped, killed and started, a thousand policies come and go, and an agent is killed at every step
 * of a change. No forbidden packet passes, no allowed one is refused, no connection breaks.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import t from "tap";
import type { Ruleset } from "../../src/model/ruleset.js";
import { compile } from "../../src/policy/compile/compile.js";
import { objectsOf } from "../builders/state.js";
import { Ztap } from "../cli/ztap.js";
import { volume } from "../volume.js";
import { drift } from "./drift.js";
import { Prober } from "./prober.js";
import { packets, Sandbox, whyNot } from "./sandbox.js";
import { HANG_MS, waitUntil } from "../wait.js";

const reason = whyNot();
await t.test("no gap", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const [OWN, PEER] = ["10.207.0.1", "10.207.0.2"];
  const CHANGES = volume(80, 5000);
  const sandbox = new Sandbox(t);
  const ztap = new Ztap(t);
  const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);
  const [node, cgroup] = [sandbox.node("gap"), sandbox.cgroup("gap")];

  // The one that is asked first only listens: it is there so that the other knows where to send.
  const sink = await Prober.start(t, sandbox, { namespace: outside }, { host: OWN, allowed: 0, forbidden: 0 });
  const workload = await Prober.start(t, sandbox, { cgroup, namespace: inside }, { host: PEER, ...sink.ports });
  const outsider = await Prober.start(t, sandbox, { namespace: outside }, { host: OWN, ...workload.ports });
  const [web, peer] = await Promise.all([
    sandbox.actor({ cgroup, namespace: inside }),
    sandbox.actor({ namespace: outside }),
  ]);
  const [served, own] = await Promise.all(
    [peer, web].map(async (actor) => (await actor.call("tcpListen", { host: "0.0.0.0", port: 0 })).port ?? 0),
  );

  /** @param extra a port that is open beside the others; it makes one policy differ from another */
  const manifest = (extra: number): string =>
    `apiVersion: ztap/v1\nkind: Workload\nmetadata: { name: web, labels: { app: web } }\n` +
    `spec: { node: ${node}, cgroup: ${cgroup}, addresses: ["${OWN}"] }\n---\n` +
    `apiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: { name: p }\nspec:\n  podSelector: {}\n` +
    `  egress:\n    - ports: [{ port: ${sink.ports.allowed}, protocol: UDP }, { port: ${served} }, { port: ${extra}, protocol: SCTP }]\n` +
    `  ingress:\n    - ports: [{ port: ${workload.ports.allowed}, protocol: UDP }, { port: ${own} }, { port: ${extra}, protocol: SCTP }]\n`;
  const rulesetOf = (extra: number): Ruleset => compile(objectsOf(manifest(extra)), node);

  ztap.write("state/all.yaml", manifest(1));
  const env = { ZTAP_NODE: node, ZTAP_LISTEN: "off", ZTAP_CHECK_INTERVAL: "50ms" };
  t.match(await ztap.run(["apply", "state", "--auto-approve"], { env }), { code: 0 });
  let agent = ztap.start(["agent"], { env });
  await agent.says("enforcing revision 1");
  const connections = await Promise.all([
    web.call("tcpConnect", { host: PEER, port: served }).then(({ id }) => ({ actor: web, id, said: "" })),
    peer.call("tcpConnect", { host: OWN, port: own }).then(({ id }) => ({ actor: peer, id, said: "" })),
  ]);

  const start = {
    workload: await workload.counters(),
    outsider: await outsider.counters(),
    sink: await sink.counters(),
  };
  let before = { ...start };
  /** What was probed since the last time; every packet that was sent meanwhile has been decided. */
  const check = async (during: string): Promise<void> => {
    for (const one of connections) {
      one.said += `${during};`;
      await one.actor.call("tcpSend", { id: one.id, text: `${during};` });
      t.match(await one.actor.call("tcpWait", { id: one.id, text: one.said }), { text: one.said }, `${during}: lives`);
    }
    // Each of the kinds at a rate of ten thousand and more a second.
    await waitUntil(
      async () => (await workload.counters()).refused.forbidden > before.workload.refused.forbidden + 1000,
      { what: "a thousand refusals" },
    );
    await waitUntil(async () => (await outsider.counters()).sent.allowed > before.outsider.sent.allowed + 1000, {
      what: "a thousand packets of the outsider",
    });
    const now = {
      workload: await workload.counters(),
      outsider: await outsider.counters(),
      sink: await sink.counters(),
    };
    t.equal(now.workload.sent.forbidden, start.workload.sent.forbidden, `${during}: nothing forbidden left`);
    t.equal(now.sink.got.forbidden, start.sink.got.forbidden, `${during}: nothing forbidden arrived there`);
    t.equal(now.workload.got.forbidden, start.workload.got.forbidden, `${during}: nothing forbidden arrived here`);
    t.equal(now.workload.refused.allowed, 0, `${during}: nothing allowed was refused`);
    t.equal(now.workload.dropped, 0, `${during}: nothing allowed was kept out`);
    t.ok(now.sink.got.allowed > before.sink.got.allowed, `${during}: what is allowed arrived there`);
    t.ok(now.workload.got.allowed > before.workload.got.allowed, `${during}: what is allowed arrived here`);
    before = now;
  };
  await check("enforcement");

  await t.test("the agent is stopped, killed and started again", async () => {
    for (const signal of ["SIGTERM", "SIGKILL"] as const) {
      await agent.stop(signal);
      await check(signal);
      agent = ztap.start(["agent"], { env });
      await agent.says("enforcing revision 1");
      await check(`a start after ${signal}`);
    }
    await agent.stop();
  });

  await t.test(`${CHANGES} policies, one after the other`, async (t) => {
    const enforcer = sandbox.enforcer(node);
    await enforcer.open();
    const refusedBefore = packets(await enforcer.observe(rulesetOf(1)), "ingress", "denied");
    const sentBefore = (await outsider.counters()).sent.forbidden;
    for (let at = 1; at <= CHANGES; at++) await enforcer.apply(rulesetOf(1 + at));
    const last = rulesetOf(1 + CHANGES);
    t.strictSame(await drift(enforcer, last), []);
    const refused = packets(await enforcer.observe(last), "ingress", "denied") - refusedBefore;
    const sent = (await outsider.counters()).sent.forbidden - sentBefore;
    // Those that were on their way when the counters were read first.
    t.ok(refused <= BigInt(sent + 1000), `${refused} refused at the workload, of ${sent} that were forbidden`);
    await check(`${CHANGES} policies`);
    await enforcer.close();
  });

  await t.test("after a kill at any step of a change, the old or the new policy is completely in force", async (t) => {
    const enforcer = sandbox.enforcer(node);
    const script = fileURLToPath(new URL("./mortal.js", import.meta.url));
    let [from, to] = [rulesetOf(1 + CHANGES), rulesetOf(3 + CHANGES)];
    const seen = new Set<string>();
    let killed = true;
    for (let step = 0; killed; step++) {
      const child = spawn(process.execPath, [script, String(step), JSON.stringify(to)], { stdio: "inherit" });
      const [, signal]: unknown[] = await once(child, "exit");
      killed = signal === "SIGKILL";
      await enforcer.open();
      const stands =
        (await drift(enforcer, from)).length === 0 ? "old" : (await drift(enforcer, to)).length === 0 ? "new" : "";
      t.ok(stands, `after step ${step}: ${stands}`);
      seen.add(stands);
      await enforcer.apply(to);
      t.strictSame(await drift(enforcer, to), [], "and the next run completes it");
      await enforcer.close();
      [from, to] = [to, from];
    }
    t.strictSame([...seen].sort(), ["new", "old"]);
    await check("deaths");
  });
});
