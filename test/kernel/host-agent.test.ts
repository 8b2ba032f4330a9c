/**
 * The host as a workload, with the real agent as a part of it: in a cgroup namespace, whose root is a cgroup of the test. The policy is
 * withheld while it would cut what the machine needs, and enforced when it does not.
 */
import { readFileSync } from "node:fs";
import { isIPv4 } from "node:net";
import { join } from "node:path";
import t from "tap";
import { Ztap, type Result, type Running } from "../cli/ztap.js";
import { Sandbox, whyNot } from "./sandbox.js";
import { SshServer, whyNoSshd } from "./ssh.js";
import { HANG_MS, waitUntil } from "../wait.js";

const reason = whyNot() ?? whyNoSshd();
await t.test("the host as a workload, with its agent", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const [OWN, CLIENT] = ["10.232.0.1", "10.232.0.2"];
  const sandbox = new Sandbox(t);
  const [machine, elsewhere] = sandbox.network([`${OWN}/24`], [`${CLIENT}/24`]);
  const ztap = new Ztap(t);
  const node = sandbox.node("whole");
  const top = sandbox.cgroup("top");
  const [system, sshd, web] = [sandbox.cgroup("top/system"), sandbox.cgroup("top/sshd"), sandbox.cgroup("top/web")];
  const env = { ZTAP_NODE: node, ZTAP_LISTEN: "off", ZTAP_CHECK_INTERVAL: "100ms" };
  // A mount of its own: there, the cgroup is the root.
  const enter = `echo $$ > "$1/cgroup.procs" && exec unshare --cgroup --mount sh -c 'umount "$1" && mount -t cgroup2 none "$1" && echo $$ > "$1/system/cgroup.procs" && shift && exec nsenter "$@"' sh "$2" "$@"`;
  const start = (args: readonly string[]): Running => {
    const command = [`--net=/run/netns/${machine}`, "--", join(ztap.root, "bin/ztap"), ...args];
    const script = enter.replace(' "$@"\'', ' "$@"\'').replace('sh "$2" "$@"', 'sh "$2" "${@:3}"');
    return ztap.spawn("bash", ["-c", script, "bash", join(sandbox.cgroupRoot, top), sandbox.cgroupRoot, ...command], {
      env,
    });
  };
  const run = (...args: readonly string[]): Promise<Result> => start(args).ended;
  const nameservers = readFileSync("/etc/resolv.conf", "utf8")
    .split("\n")
    .flatMap((line) => /^nameserver\s+(\S+)$/.exec(line)?.[1] ?? []);
  const dns = nameservers.map((at) => `{ ipBlock: { cidr: "${at}/${isIPv4(at) ? 32 : 128}" } }`).join(", ");
  const ssh = `{ from: [{ ipBlock: { cidr: ${CLIENT}/32 } }], ports: [{ port: 22 }] }`;
  const resolve = `{ to: [${dns}], ports: [{ protocol: UDP, port: 53 }] }`;
  const write = (rules: string | null): void => {
    const policy =
      rules === null
        ? ""
        : `---\napiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: { name: base }\nspec:\n  podSelector: { matchLabels: { app: base } }\n${rules}`;
    ztap.write(
      "state/all.yaml",
      `apiVersion: ztap/v1\nkind: NodeGroup\nmetadata: { name: all }\nspec: { nodeNames: ["*"], addressRanges: [10.232.0.0/24] }\n---\n` +
        `apiVersion: ztap/v1\nkind: Workload\nmetadata: { name: base, labels: { app: base } }\nspec: { node: ${node}, process: { host: true } }\n---\n` +
        `apiVersion: ztap/v1\nkind: Workload\nmetadata: { name: web, labels: { app: web } }\nspec: { node: ${node}, process: { cgroup: web } }\n` +
        policy,
    );
  };
  const status = async (): Promise<Record<string, unknown>> => {
    const { nodes }: { nodes: readonly Record<string, unknown>[] } = JSON.parse(
      (await run("cluster", "status", "--json")).stdout,
    );
    return nodes[0] ?? {};
  };
  const enforces = (revision: number): Promise<unknown> =>
    waitUntil(async () => (await status())["enforcedRevision"] === revision, { what: `revision ${revision}` });

  const procs = join(sandbox.cgroupRoot, sshd, "cgroup.procs");
  const server = new SshServer(t, { procs, namespace: machine, address: OWN });
  await server.ready();
  const [hosts, webs, client] = [
    await sandbox.actor({ namespace: machine, cgroup: system }),
    await sandbox.actor({ namespace: machine, cgroup: web }),
    await sandbox.actor({ namespace: elsewhere }),
  ];
  const port = (await hosts.call("tcpListen", { host: OWN, port: 0 })).port ?? 0;
  const other = (await webs.call("tcpListen", { host: OWN, port: 0 })).port ?? 0;
  const session = server.login(elsewhere);
  await session.answers("login");
  write(null);
  t.match(await run("apply", "state", "--auto-approve"), { code: 0 });
  let agent = start(["agent"]);
  await enforces(1);

  await t.test("a policy that would cut what the machine needs is refused, and withheld", async (t) => {
    write("  ingress: []\n  egress: []\n");
    const refused = await run("plan", "state");
    t.match(refused, { code: 1, stderr: /would lock out: .*is the host.*--allow-lockout/ });
    t.match(await run("apply", "state", "--auto-approve", "--allow-lockout"), { code: 0 });
    await agent.says(/not enforced for default\/base@\S+, since it would lock out/);
    for (const cut of [
      /deny the SSH session from 10\.232\.0\.2 to port 22/,
      /deny name resolution; this opens it/,
      /deny new SSH sessions at port 22/,
    ])
      t.match(agent.stderr, cut);
    const withheld = [{ workload: `default/base@${node}`, reason: /is the host/, keeps: [`default/base@${node}`] }];
    await waitUntil(async () => Object((await status())["withheld"]).length === 1, { what: "the report of it" });
    t.match(await status(), { enforcedRevision: 1, withheld });
    t.type((await client.call("tcpConnect", { host: OWN, port })).id, "number", "nothing is enforced");
    await session.answers("still here");
  });

  await t.test("one that allows it is enforced: for the host alone, and its agent goes on", async (t) => {
    write(`  ingress: [${ssh}]\n  egress: [${resolve}]\n`);
    t.match(await run("apply", "state", "--auto-approve"), { code: 0 });
    await enforces(3);
    await session.answers("a session that is older");
    await server.login(elsewhere).answers("a new one");
    t.match(await hosts.call("tcpConnect", { host: CLIENT, port: 9 }), { code: "EPERM" });
    t.type((await client.call("tcpConnect", { host: OWN, port: other })).id, "number", "another workload is open");
    const closed = client.call("tcpConnect", { host: OWN, port });
    const flows = start(["flows", "--follow", "--json", "--verdict", "denied"]);
    await flows.says(`default/base@${node}`);
    await flows.stop();
    const shown: unknown = JSON.parse((await run("policy", "show", "base", "--json")).stdout);
    t.match(shown, { subjects: [{ workload: `default/base@${node}` }], nodes: [{ state: "InSync", drift: [] }] });
    const held = await run("enforcement", "show");
    t.notMatch(held.stdout, /others|foreign/i);
    t.match(held, { code: 0, stdout: new RegExp(`base@${node}`) }, held.stderr);

    await agent.stop("SIGKILL");
    await session.answers("without an agent");
    t.match(await hosts.call("tcpConnect", { host: CLIENT, port: 9 }), { code: "EPERM" });
    agent = start(["agent"]);
    await agent.says("enforcing revision 3");
    await session.answers("with the next one");
    t.match(await agent.stop(), { code: 0 });
    t.match(await run("enforcement", "remove", "--node", node, "--auto-approve"), {
      code: 0,
      stdout: new RegExp(`base@${node}`),
    });
    t.type((await closed).id, "number", "when enforcement is removed, it connects");
  });
});
