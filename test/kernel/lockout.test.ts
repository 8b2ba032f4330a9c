/**
 * Lock-out, with the real agent, real cgroups and real sessions of ssh: neither the agent nor a session
 * in use is cut, unless it is allowed.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { Ztap, type Result, type Running } from "../cli/ztap.js";
import { refusalsOf } from "./denied.js";
import { Sandbox, whyNot } from "./sandbox.js";
import { SshServer, whyNoSshd, type SshSession } from "./ssh.js";
import { waitUntil } from "../wait.js";

const reason = whyNot() ?? whyNoSshd();
if (reason !== null) t.plan(0, `SKIP kernel tests: ${reason}`);
else {
  const CLIENT = "10.205.0.2";
  const sandbox = new Sandbox(t);
  const [machine, elsewhere] = sandbox.network(["10.205.0.1/24"], [`${CLIENT}/24`]);
  const ztap = new Ztap(t);
  const node = sandbox.node("lockout");
  const [sshd, other] = [sandbox.cgroup("sshd"), sandbox.cgroup("other")];
  const own = sandbox.cgroup("other/agent");
  const env = { ZTAP_NODE: node, ZTAP_LISTEN: "off", ZTAP_CHECK_INTERVAL: "100ms" };

  /** On the machine, in a cgroup of its own where that is said. */
  const start = (args: readonly string[], cgroup = "", extra: Readonly<Record<string, string>> = {}): Running => {
    const enter = `echo $$ > "$1" && shift && exec nsenter "$@"`;
    const procs = join(sandbox.cgroupRoot, cgroup, "cgroup.procs");
    const command = [`--net=/run/netns/${machine}`, "--", join(ztap.root, "bin/ztap"), ...args];
    return ztap.spawn("sh", ["-c", enter, "sh", procs, ...command], { env: { ...env, ...extra } });
  };
  const run = (...args: readonly string[]): Promise<Result> => start(args).ended;
  const policy = (name: string, app: string, peers: readonly string[]): string => {
    const from = peers.map((cidr) => `\n    - { from: [{ ipBlock: { cidr: ${cidr} } }] }`).join("");
    return (
      `apiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: { name: ${name} }\n` +
      `spec:\n  podSelector: { matchLabels: { app: ${app} } }\n  ingress:${from === "" ? " []" : from}\n`
    );
  };
  /**
   * @param peers who may reach the workload that holds the session
   * @param others who may reach the workload `web`, if there is one
   */
  const write = (
    cgroups: Readonly<Record<string, string>>,
    peers: readonly string[],
    others: readonly string[] = [],
  ): void => {
    const workloads = Object.entries(cgroups).map(
      ([name, cgroup]) =>
        `apiVersion: ztap/v1\nkind: Workload\nmetadata: { name: ${name}, labels: { app: ${name} } }\n` +
        `spec: { node: ${node}, cgroup: ${cgroup}, addresses: ["10.205.0.1"] }\n---\n`,
    );
    const web = "web" in cgroups ? `---\n${policy("web", "web", others)}` : "";
    ztap.write("state/all.yaml", `${workloads.join("")}${policy("p", "ssh", peers)}${web}`);
  };
  const status = async (): Promise<Record<string, unknown>> => {
    const { nodes }: { nodes: readonly Record<string, unknown>[] } = JSON.parse(
      (await run("cluster", "status", "--json")).stdout,
    );
    return nodes[0] ?? {};
  };

  const isWithheld = async (): Promise<boolean> => Object((await status())["withheld"]).length === 1;

  const procs = join(sandbox.cgroupRoot, sshd, "cgroup.procs");
  const server = new SshServer(t, { procs, namespace: machine, address: "10.205.0.1" });
  await server.ready();

  await t.test("a connection that has not logged in is no session", async (t) => {
    const stranger = await sandbox.actor({ namespace: elsewhere });
    await stranger.call("tcpConnect", { host: "10.205.0.1", port: 22 });
    write({ ssh: sshd }, []);
    t.match(await run("plan", "state"), { code: 0, stdout: /2 to create/ });
    await stranger.end();
  });

  let session: SshSession;

  await t.test("plan and apply refuse what would cut the session, with the reason", async (t) => {
    session = server.login(elsewhere);
    await session.answers("login");
    write({ ssh: sshd }, []);
    for (const args of [
      ["plan", "state"],
      ["apply", "state", "--auto-approve"],
    ]) {
      const refused = await run(...args, "--json");
      t.match(refused, { code: 1 });
      t.match(JSON.parse(refused.stdout), {
        error: {
          code: "lockout",
          message: new RegExp(`deny the SSH session from ${CLIENT} to port 22.*--allow-lockout`),
        },
      });
    }
    const allowed = ztap.write("allowed.yaml", "allowLockout: true\n");
    const agents = await start(["plan", "state", "--config", allowed], "", { ZTAP_ALLOW_LOCKOUT: "true" }).ended;
    t.match(
      agents,
      { code: 1, stderr: /ZTAP_ALLOW_LOCKOUT is ignored[^]*would lock out/ },
      "the setting is the agent's",
    );
    t.match(await run("plan", "state", "--allow-lockout"), { code: 0, stdout: /2 to create/ });
    t.match(await run("plan", "state", "--node", "other-machine"), { code: 0 }, "it is another machine's affair");
  });

  await t.test("plan and apply refuse what would cut other machines' agents off a source served here", async (t) => {
    write({ ssh: sshd }, [`${CLIENT}/32`, "10.205.0.1/32"]);
    const nodes = [
      [node, "10.205.0.1"],
      ["far", "10.205.0.9"],
    ].map(
      ([name, address]) =>
        `apiVersion: ztap/v1\nkind: Node\nmetadata: { name: ${name} }\nspec: { address: "${address}:9470" }\n---\n`,
    );
    ztap.write("state/nodes.yaml", nodes.join(""));
    t.match(await run("plan", "state"), { code: 0 }, "another port of it is another matter");
    for (const url of ["ssh://git@10.205.0.1/p.git", "git@10.205.0.1:p.git"]) {
      const refused = await start(["plan", "state"], "", { ZTAP_SOURCE: url }).ended;
      t.match(refused, { code: 1, stderr: /deny the agents of far their source, which is served there on port 22/ });
    }
    const elsewhere = await start(["plan", "state"], "", { ZTAP_SOURCE: "ssh://git@10.205.0.2/p.git" }).ended;
    t.match(elsewhere, { code: 0 }, "it is not this machine's");
    await rm(join(ztap.folder, "state/nodes.yaml"));
  });

  await t.test("an agent withholds the policy that would cut the session, and nothing else", async (t) => {
    const workloads = { ssh: sshd, web: other };
    write(workloads, [`${CLIENT}/32`], [`${CLIENT}/32`]);
    t.match(await run("apply", "state", "--auto-approve"), { code: 0 });
    const web = await sandbox.actor({ namespace: machine, cgroup: other });
    const listening = await web.call("tcpListen", { host: "10.205.0.1", port: 0 });
    const client = await sandbox.actor({ namespace: elsewhere });
    const agent = start(["agent"]);
    await waitUntil(async () => (await status())["enforcedRevision"] === 1, { what: "the first revision" });
    await session.answers(" pwd");
    // One that is older than the enforcement goes on while egress is open; this one is known to have come in.
    session = server.login(elsewhere);
    await session.answers("whoami");
    const connection = await client.call("tcpConnect", { host: "10.205.0.1", port: listening.port });
    await client.call("tcpSend", { id: connection.id, text: "early" });
    await client.call("tcpWait", { id: connection.id, text: "early" });
    write(workloads, []);
    t.match(await run("apply", "state", "--auto-approve", "--allow-lockout"), { code: 0 });
    await agent.says(/not enforced for default\/ssh, since it would lock out/);
    const withheld = [{ workload: "default/ssh", reason: /deny the SSH session/, keeps: ["default/ssh"] }];
    await waitUntil(isWithheld, { what: "the report of it" });
    t.match(await status(), { enforcedRevision: 1, message: /deny the SSH session from 10\.205\.0\.2/, withheld });
    const refusals = refusalsOf(node);
    t.teardown(refusals.close);
    let before = refusals.read();
    await client.call("tcpSend", { id: connection.id, text: "late" });
    await waitUntil(() => refusals.read() > before, { what: "a refusal for the workload that follows" });
    t.notMatch(await client.call("tcpReceived", { id: connection.id }), { text: /late/ });
    await session.answers(" ls");
    const shown = async (name: string): Promise<Record<string, unknown>> =>
      JSON.parse((await run("policy", "show", name, "--json")).stdout);
    t.match(await shown("p"), { nodes: [{ state: "Stalled", enforcedRevision: 1, withheld, drift: [] }] });
    t.match(await shown("web"), { nodes: [{ state: "InSync", enforcedRevision: 2, withheld: [], drift: [] }] });
    await agent.stop();
    const again = start(["agent"]);
    await again.says(/not enforced for default\/ssh, .*it keeps the policy that it had/);
    await session.answers(" and again");
    t.match(await shown("web"), { nodes: [{ state: "InSync", enforcedRevision: 2, drift: [] }] });
    await again.stop();
    await web.end();
    await client.end();

    const once = await run("agent", "--once", "--allow-lockout");
    t.match(once, { code: 0 }, once.stderr);
    before = refusals.read();
    const received = session.received;
    session.send(" late");
    await waitUntil(() => refusals.read() > before, { what: "a refusal, as it was told to" });
    t.equal(session.received, received);
    write({ ssh: sshd }, ["10.205.0.0/24"]);
    t.match(await run("apply", "state", "--auto-approve"), { code: 0 }, "a way back in is never refused");
    t.match(await run("agent", "--once"), { code: 0 });
    await session.answers(" and later");
  });

  await t.test("a workload whose cgroup contains the agent is refused", async (t) => {
    const agent = start(["agent"], own);
    await agent.says("enforcing revision 3");
    write({ ssh: sshd, around: other }, ["10.205.0.0/24"]);
    // Where it runs, its status tells.
    await waitUntil(async () => (await run("plan", "state")).code === 1, { what: "a refusal" });
    const refused = await run("apply", "state", "--auto-approve");
    t.match(refused, { code: 1, stderr: new RegExp(`workload default/around .*agent of node ${node} itself runs`) });
    t.match(await run("apply", "state", "--auto-approve", "--allow-lockout"), { code: 0 });
    await agent.says(/default\/around has the cgroup .*, in which the agent/);
    await waitUntil(isWithheld, { what: "the report of it" });
    t.match(await status(), { enforcedRevision: 3, withheld: [{ workload: "default/around", keeps: [] }] });
    t.match(await agent.stop(), { code: 0 });
  });
}
