/** The host as a workload while builds with another ABI version follow each other: neither it nor a workload beside it is ever open. */
import { join } from "node:path";
import t from "tap";
import { HANG_MS, waitUntil } from "../wait.js";
import { drift } from "./drift.js";
import { buildOther } from "./other-build.js";
import { Prober } from "./prober.js";
import { rulesetOf, type Isolation } from "./rulesets.js";
import { quiet, Sandbox, whyNot } from "./sandbox.js";

const reason = whyNot();
await t.test("takeover with a host", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const [OWN, PEER] = ["10.234.0.1", "10.234.0.2"];
  const sandbox = new Sandbox(t);
  const other = await buildOther(t);
  const top = sandbox.cgroup("machine");
  const [system, web] = [sandbox.cgroup("machine/system"), sandbox.cgroup("machine/apps/web")];
  const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);
  const node = sandbox.node("node");
  const peer = await sandbox.actor({ namespace: outside });
  const host = await sandbox.actor({ namespace: inside, cgroup: system });
  const { port } = await peer.call("tcpListen", { host: "0.0.0.0", port: 0 });
  const sink = await Prober.start(t, sandbox, { namespace: outside }, { host: OWN, allowed: 0, forbidden: 0 });
  // What one may is forbidden to the other.
  const { allowed, forbidden } = sink.ports;
  const only = (udp: number): Isolation => ({ allow: [{ peers: "any", ports: [`udp/${udp}`, `tcp/${port}`] }] });
  const ruleset = rulesetOf(node, {
    "demo/base@node": { cgroup: null, isHost: true, addresses: [OWN], ingress: { allow: [] }, egress: only(allowed) },
    "demo/web": { cgroup: "apps/web", addresses: [OWN], egress: only(forbidden) },
  });
  let enforcer = sandbox.enforcer(node, top);
  await enforcer.open();
  await enforcer.apply(ruleset);
  const { id } = await host.call("tcpConnect", { host: PEER, port });
  const probers = await Promise.all(
    (
      [
        [system, sink.ports],
        [web, { allowed: forbidden, forbidden: allowed }],
      ] as const
    ).map(([cgroup, ports]) => Prober.start(t, sandbox, { cgroup, namespace: inside }, { host: PEER, ...ports })),
  );
  for (const name of ["newer", "back", "newer again"]) {
    await enforcer.close();
    enforcer =
      name === "back"
        ? sandbox.enforcer(node, top)
        : other.enforcer({ node, logger: quiet, cgroupRoot: join(sandbox.cgroupRoot, top) });
    await enforcer.open();
    await enforcer.apply(ruleset);
    t.strictSame(await drift(enforcer, ruleset), [], `${name}: it has taken over`);
    await host.call("tcpSend", { id, text: name });
    t.match(
      await host.call("tcpWait", { id, text: name }),
      { text: new RegExp(name) },
      `${name}: a connection goes on`,
    );
    for (const probe of probers) {
      const { refused, sent } = await probe.counters();
      const goesOn = async (): Promise<boolean> => {
        const now = await probe.counters();
        return now.refused.forbidden > refused.forbidden + 50 && now.sent.allowed > sent.allowed + 50;
      };
      await waitUntil(goesOn, { what: "probes" });
    }
  }
  for (const probe of probers) {
    const { sent, refused } = await probe.counters();
    t.equal(sent.forbidden, 0, "nothing forbidden left");
    t.equal(refused.allowed, 0, "nothing allowed was refused");
    await probe.end();
  }
  await enforcer.close();
});
