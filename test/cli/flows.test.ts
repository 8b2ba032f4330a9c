/** `ztap flows` and the counters of `ztap policy show`, with a real agent, kernel and processes. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, statSync } from "node:fs";
import t from "tap";
import { Sandbox, whyNot } from "../kernel/sandbox.js";
import { NOBODY, schemaErrors, until, Ztap } from "./ztap.js";

const reason = whyNot();
if (reason !== null) t.plan(0, `SKIP kernel tests: ${reason}`);
else {
  const OWN = "10.208.0.1";
  const PEER = "10.208.0.2";
  const sandbox = new Sandbox(t);
  const [inside, outside] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);
  const cgroup = sandbox.cgroup("web");
  const node = sandbox.node("cli").toLowerCase();
  const web = await sandbox.actor({ cgroup, namespace: inside });
  const peer = await sandbox.actor({ namespace: outside });
  const { port } = await peer.call("tcpListen", { host: PEER, port: 0 });

  const state = `apiVersion: ztap/v1
kind: Workload
metadata: { name: web, namespace: demo }
spec: { node: ${node}, cgroup: "${cgroup}", addresses: ["${OWN}"] }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: db, namespace: demo }
spec: { addresses: ["${PEER}"] }
---
apiVersion: ztap/v1
kind: NetworkPolicy
metadata: { name: web, namespace: demo }
spec:
  podSelector: {}
  mode: { ingress: audit }
  ingress: []
  egress:
    - to: { podSelector: {} }
      ports: [{ port: ${port ?? 0} }]
`;
  type Event = Readonly<Record<string, unknown>>;
  const parse = (text: string): readonly Event[] =>
    text
      .split("\n")
      .filter((line) => line !== "")
      .map((line): Event => JSON.parse(line));

  await t.test("verdicts reach every reader, with names, policy and line", async (t) => {
    const ztap = new Ztap(t);
    ztap.write("repo/state.yaml", state);
    t.match(await ztap.run(["apply", "repo", "--auto-approve"]), { code: 0 });
    const flags = ["--node", node, "--listen", "off"];
    const absent = await ztap.json(t, "error", ["flows", "--node", node], { code: 1 });
    t.match(absent, { error: { code: "agent-away", message: /ztap agent/ } });

    const agent = ztap.start(["agent", ...flags]);
    await agent.says("enforcing revision 1");
    const socket = ztap.path("state", "flows", `${node}.sock`);
    await until(() => existsSync(socket), "the socket");
    await until(() => (statSync(socket).mode & 0o777) === 0o600, "its mode");
    const followers = [[], ["--verdict", "denied"]].map((more) =>
      ztap.start(["flows", "--follow", "--json", "--node", node, ...more]),
    );
    const { id } = await web.call("tcpConnect", { host: PEER, port });
    t.type(id, "number");
    t.match(await web.call("tcpConnect", { host: PEER, port: 9 }), { code: "EPERM" });
    const { port: served } = await web.call("tcpListen", { host: OWN, port: 0 });
    t.type((await peer.call("tcpConnect", { host: OWN, port: served })).id, "number", "audit lets it pass");
    const past = async (...args: string[]) => (await ztap.run(["flows", "--json", "--node", node, ...args])).stdout;
    await until(async () => parse(await past("--verdict", "audited")).length > 0, "the audited packet");

    const events = parse(await past("--workload", "demo/web"));
    for (const event of events) t.equal(schemaErrors("flow-event", event), "");
    const policy = { policy: "demo/web", file: "state.yaml" };
    t.match(events[0], {
      formatVersion: 1,
      verdict: "allowed",
      direction: "egress",
      node,
      peer: { address: PEER, workloads: ["demo/db"] },
      port,
      rule: { ...policy, line: 19, index: 0 },
    });
    t.match(events[1], { verdict: "denied", hook: "call", port: 9, rule: null, policies: [{ ...policy, line: 11 }] });
    t.match(events[2], { verdict: "audited", direction: "ingress", port: served, policies: [policy] });
    t.equal((await past("--workload", "other")).trim(), "");
    const text = (await ztap.run(["flows", "--node", node])).stdout;
    t.match(
      text,
      new RegExp(`denied +egress +demo/web +demo/db \\(${PEER}\\) +9/TCP +no rule of demo/web \\(state.yaml:11\\)`),
    );
    await followers[0]?.says(`"verdict":"audited"`);
    await followers[1]?.says(`"verdict":"denied"`);
    t.notMatch(followers[1]?.stdout, /"verdict":"(allowed|audited)"/);

    const shown = await ztap.json(t, "policy-show", ["policy", "show", "demo/web"]);
    const [{ counters }] = shown.nodes;
    t.match(counters.rules, [{ direction: "egress", index: 0, file: "state.yaml", line: 19 }]);
    t.ok(counters.rules[0].packets >= 3, "the handshake at least");
    const [ingress, egress] = counters.workloads;
    t.match(ingress, { workload: "demo/web", direction: "ingress", mode: "audit", denied: 0 });
    t.ok(ingress.audited >= 1);
    t.match(egress, { direction: "egress", mode: "enforce", denied: 0, refusedCalls: 1 });
    t.match((await ztap.run(["policy", "show", "demo/web"])).stdout, /egress rule 1 +state.yaml:19 +\d+ packets/);

    t.match(await agent.stop("SIGKILL"), {});
    t.match(await followers[0]?.ended, { code: 1, stderr: /the agent of node .* stopped/ });
    t.ok(existsSync(socket), "a killed agent leaves its socket");
    const next = ztap.start(["agent", ...flags]);
    await until(async () => (await ztap.run(["flows", "--node", node])).code === 0, "the next agent's socket");
    t.match((await ztap.run(["flows", "--node", node], { uid: NOBODY })).stderr, /needs root|EACCES/);
    t.match(await next.stop(), { code: 0 });
    t.notOk(existsSync(socket), "one that stops takes it away");
  });

  await t.test("a state folder whose path is longer than a socket's may be", async (t) => {
    const ztap = new Ztap(t);
    const deep = ztap.path(
      ...Array.from({ length: 6 }, (_unused, at) => createHash("sha256").update(String(at)).digest("hex")),
    );
    mkdirSync(deep, { recursive: true });
    ztap.write("repo/state.yaml", state);
    await ztap.run(["apply", "repo", "--auto-approve"]);
    const agent = ztap.start(["agent", "--node", node, "--listen", "off", "--state-dir", deep]);
    await until(async () => (await ztap.run(["flows", "--node", node, "--state-dir", deep])).code === 0, "its flows");
    await agent.stop();
  });
}
