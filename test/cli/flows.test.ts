/** `ztap flows` and the counters of `ztap policy show`, with a real agent, kernel and processes. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { parse as parseYaml } from "yaml";
import { DEFAULT_PIN_ROOT, pinName } from "../../src/adapters/ebpf/kernel/paths.js";
import { loadSqlite } from "../../src/adapters/system/sqlite.js";
import { Sandbox, whyNot } from "../kernel/sandbox.js";
import { NOBODY, schemaErrors, Ztap } from "./ztap.js";
import { waitUntil } from "../wait.js";

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

  await t.test("every reader gets verdicts with names, policy and line", async (t) => {
    const ztap = new Ztap(t);
    ztap.write("repo/state.yaml", state);
    t.match(await ztap.run(["apply", "repo", "--auto-approve"]), { code: 0 });
    const flags = ["--node", node, "--listen", "off", "--heartbeat-interval", "200ms", "--election-timeout", "5s"];
    const absent = await ztap.json(t, "error", ["flows", "--node", node], { code: 1 });
    t.match(absent, { error: { code: "agent-away", message: /ztap agent/ } });

    const agent = ztap.start(["agent", ...flags]);
    await agent.says("enforcing revision 1");
    const socket = ztap.path("state", "flows", `${node}.sock`);
    await waitUntil(() => existsSync(socket), { what: "the socket" });
    await waitUntil(() => (statSync(socket).mode & 0o777) === 0o600, { what: "its mode" });
    const followers = [[], ["--verdict", "denied"]].map((more) =>
      ztap.start(["flows", "--follow", "--json", "--node", node, ...more]),
    );
    const { id } = await web.call("tcpConnect", { host: PEER, port });
    t.type(id, "number");
    t.match(await web.call("tcpConnect", { host: PEER, port: 9 }), { code: "EPERM" });
    const { port: served } = await web.call("tcpListen", { host: OWN, port: 0 });
    t.type((await peer.call("tcpConnect", { host: OWN, port: served })).id, "number", "audit lets it pass");
    const past = async (...args: string[]) => (await ztap.run(["flows", "--json", "--node", node, ...args])).stdout;
    await waitUntil(async () => parse(await past("--verdict", "audited")).length > 0, { what: "the audited packet" });

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
    const other = await ztap.json(t, "error", ["flows", "--workload", "demo/wbe", "--node", node], { code: 1 });
    t.match(other, {
      error: { code: "not-found", message: /no workload demo\/wbe on node .*did you mean demo\/web\?/ },
    });
    const unknown = await ztap.run(["flows", "--workload", "other", "--node", node]);
    t.match(unknown, { code: 1, stdout: "", stderr: /no workload default\/other/ }, "no header before an error");
    t.match(await ztap.run(["flows", "--verdict", "denied", "--direction", "ingress", "--node", node]), {
      code: 0,
      stdout: /No denied ingress flow is stored/,
    });
    const yaml = (await ztap.run(["flows", "-o", "yaml", "--node", node])).stdout.split(/^---\n/m).slice(1);
    t.ok(yaml.length > 0);
    for (const document of yaml) t.equal(schemaErrors("flow-event", parseYaml(document)), "");
    const only = await ztap.run(["flows", "--json"]);
    t.match(
      only,
      { code: 0, stderr: new RegExp(`these are the flows of node ${node}`) },
      "the only agent of the machine",
    );
    t.ok(parse(only.stdout).length >= 3);
    const typo = await ztap.json(t, "error", ["flows", "--node", "typo"], { code: 1 });
    t.match(typo, { error: { code: "agent-away", message: new RegExp(`node typo .*do: ${node}`) } });
    const narrow = await ztap.onTerminal(["flows", "--node", node], "", { NO_COLOR: "1" });
    for (const line of narrow.stdout.split(/\r?\n/)) t.ok(line.length <= 80, line);
    t.match(narrow.stdout, /denied +demo\/web → demo\/db \(10\.208\.0\.2\) 9\/TCP\r?\n +no rule of demo\/web/);
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
    t.match((await ztap.run(["policy", "show", "demo/web"])).stdout, /egress\[0\] +state.yaml:19 +\d+ packets/);

    t.notMatch(agent.stderr, /disconnected/, "a look at its socket is no news");
    // Not within a write: a writer that is stopped keeps the store's lock.
    const database = new (loadSqlite().DatabaseSync)(join(ztap.folder, "store/store.db"));
    database.exec("PRAGMA busy_timeout = 60000; BEGIN IMMEDIATE");
    agent.child.kill("SIGSTOP");
    database.exec("ROLLBACK");
    database.close();
    const messageOf = async () => {
      const { nodes } = await ztap.json(t, "policy-show", ["policy", "show", "demo/web"]);
      return String(nodes[0].message);
    };
    await waitUntil(messageOf, {
      is: (message) => message.includes("runs here, and does not reach the store"),
      what: "its silence to be told",
    });
    agent.child.kill("SIGCONT");
    t.match(await agent.stop("SIGKILL"), {});
    await waitUntil(messageOf, {
      is: (message) => message.includes("the agent is not running"),
      what: "its death to be told",
    });
    t.match(await followers[0]?.ended, { code: 1, stderr: /the agent of node .* stopped/ });
    t.ok(existsSync(socket), "a killed agent leaves its socket");
    const next = ztap.start(["agent", ...flags]);
    await waitUntil(async () => (await ztap.run(["flows", "--node", node])).code === 0, {
      what: "the next agent's socket",
    });
    t.match((await ztap.run(["flows", "--node", node], { uid: NOBODY })).stderr, /needs root|EACCES/);
    t.match(await next.stop(), { code: 0 });
    t.notOk(existsSync(socket), "one that stops takes it away");

    const remove = ["enforcement", "remove", "--node"];
    const wrong = await ztap.json(t, "error", [...remove, "typo", "--auto-approve"], { code: 1 });
    t.match(wrong, { error: { code: "not-found", message: /nothing is enforced for a node typo on this machine; / } });
    t.match(await ztap.onTerminal([...remove, node], "no\n", { NO_COLOR: "1" }), {
      code: 1,
      stdout: new RegExp(`Node ${node}: will be open: demo/web\\..*not removed: not confirmed`, "s"),
    });
    t.ok(existsSync(join(DEFAULT_PIN_ROOT, pinName(node))));
    t.match(await ztap.run([...remove, node, "--auto-approve"]), { code: 0, stdout: /open now: demo\/web/ });
    t.notOk(existsSync(join(DEFAULT_PIN_ROOT, pinName(node))));
  });

  await t.test("an agent that never enforced a ruleset leaves nothing pinned", async (t) => {
    const ztap = new Ztap(t);
    const once = ["agent", "--once", "--listen", "off", "--node"];
    t.match(await ztap.run([...once, node]), { code: 1, stderr: /nothing is enforced/ });
    t.notOk(existsSync(join(DEFAULT_PIN_ROOT, pinName(node))), "of an empty store");
    const declared = `---\napiVersion: ztap/v1\nkind: Node\nmetadata: { name: ${node} }\nspec: { address: "a:1" }\n`;
    ztap.write("repo/state.yaml", state + declared);
    await ztap.run(["apply", "repo", "--auto-approve"]);
    const other = sandbox.node("undeclared").toLowerCase();
    t.match(await ztap.run([...once, other]), { code: 1, stderr: /is not declared, so that nothing is enforced/ });
    t.notOk(existsSync(join(DEFAULT_PIN_ROOT, pinName(other))), "of a node that is not declared");
    t.match(await ztap.run([...once, node]), { code: 0 });
    t.ok(existsSync(join(DEFAULT_PIN_ROOT, pinName(node))), "what is in force stays");
  });

  await t.test("flows work with a state folder whose path is longer than a socket's path may be", async (t) => {
    const ztap = new Ztap(t);
    const deep = ztap.path(
      ...Array.from({ length: 6 }, (_unused, at) => createHash("sha256").update(String(at)).digest("hex")),
    );
    mkdirSync(deep, { recursive: true });
    ztap.write("repo/state.yaml", state);
    await ztap.run(["apply", "repo", "--auto-approve"]);
    const agent = ztap.start(["agent", "--node", node, "--listen", "off", "--state-dir", deep]);
    await waitUntil(async () => (await ztap.run(["flows", "--node", node, "--state-dir", deep])).code === 0, {
      what: "its flows",
    });
    await agent.stop();
  });
}
