/**
 * A revision that cuts the agent off its source, enforced by a real agent as a part of the host: it goes back by itself, and where it
 * was killed, the kernel does.
 */
import { join } from "node:path";
import t from "tap";
import { Ztap, type Result, type Running } from "../cli/ztap.js";
import { Sandbox, whyNot } from "./sandbox.js";
import { HANG_MS, waitUntil } from "../wait.js";

const reason = whyNot();
await t.test("commit-confirmed", { skip: reason ?? false, timeout: HANG_MS }, async (t) => {
  const [OWN, PEER] = ["10.233.0.1", "10.233.0.2"];
  const sandbox = new Sandbox(t);
  const [machine, elsewhere] = sandbox.network([`${OWN}/24`], [`${PEER}/24`]);
  const ztap = new Ztap(t);
  const node = sandbox.node("confirm");
  const [top, system] = [sandbox.cgroup("confirm"), sandbox.cgroup("confirm/system")];
  const peer = await sandbox.actor({ namespace: elsewhere });
  const { port } = await peer.call("tcpListen", { host: PEER, port: 0 });
  const env = {
    ZTAP_NODE: node,
    ZTAP_LISTEN: "off",
    ZTAP_CHECK_INTERVAL: "100ms",
    ZTAP_ALLOW_LOCKOUT: "true",
    ZTAP_SOURCE: `https://${PEER}:${port}/policies.git`,
    ZTAP_SOURCE_INTERVAL: "1h",
  };
  // In a cgroup namespace, whose root is the test's cgroup: that is the host of this machine.
  const enter =
    'echo $$ > "$1/cgroup.procs" && exec unshare --cgroup --mount sh -c \'umount "$1" && mount -t cgroup2 none "$1" && ' +
    'echo $$ > "$1/system/cgroup.procs" && shift && exec nsenter "$@"\' sh "$2" "${@:3}"';
  const start = (...args: readonly string[]): Running => {
    const command = [`--net=/run/netns/${machine}`, "--", join(ztap.root, "bin/ztap"), ...args];
    const places = [join(sandbox.cgroupRoot, top), sandbox.cgroupRoot];
    return ztap.spawn("bash", ["-c", enter, "bash", ...places, ...command], { env });
  };
  const run = (...args: readonly string[]): Promise<Result> => start(...args).ended;
  const apply = async (egress: string | null): Promise<void> => {
    const rule =
      egress === null
        ? ""
        : `---\napiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: { name: base }\nspec:\n  podSelector: {}\n  egress: ${egress}\n`;
    ztap.write(
      "state/all.yaml",
      `apiVersion: ztap/v1\nkind: Cluster\nmetadata: { name: cluster }\nspec: { rollout: { confirm: 10s } }\n---\n` +
        `apiVersion: ztap/v1\nkind: Node\nmetadata: { name: ${node} }\nspec: { addresses: [${OWN}] }\n---\n` +
        `apiVersion: ztap/v1\nkind: Workload\nmetadata: { name: base, labels: { app: base } }\nspec: { node: ${node}, process: { host: true } }\n${rule}`,
    );
    const done = await run("apply", "state", "--auto-approve", "--allow-lockout", "--override");
    t.match(done, { code: 0 }, done.stderr);
  };
  const hosts = await sandbox.actor({ namespace: machine, cgroup: system });
  const connect = async (): Promise<unknown> => {
    const { code } = await hosts.call("tcpConnect", { host: PEER, port });
    return code ?? "connected";
  };
  const becomes = (state: string) =>
    waitUntil(connect, { is: (seen) => seen === state, what: `the host's connection: ${state}` });
  const status = async (): Promise<Record<string, unknown>> => {
    const { nodes }: { nodes: readonly Record<string, unknown>[] } = JSON.parse(
      (await run("cluster", "status", "--json")).stdout,
    );
    return nodes[0] ?? {};
  };

  await apply(null);
  let agent = start("agent");
  await agent.says("enforcing revision 1");
  await apply("[]");
  await agent.says("revision 2 is on trial for 10 s");
  await becomes("EPERM");
  await agent.says(
    /going back from revision 2, which was not confirmed: the source at 10\.233\.0\.2:\d+ cannot be reached/,
  );
  await becomes("connected");
  const isTold = ({ message }: Record<string, unknown>): boolean =>
    /revision 2 was not confirmed in time.*revision 1 is in force/.test(String(message));
  t.match(await waitUntil(status, { is: isTold, what: "its report" }), { enforcedRevision: 1 });
  t.equal(agent.stderr.split("going back").length - 1, 1, "it says so once");

  await apply("[{ to: [{ ipBlock: { cidr: 10.0.0.0/8 } }], ports: [{ port: 1 }] }]");
  await agent.says("revision 3 is on trial");
  await becomes("EPERM");
  await agent.stop("SIGKILL");
  await becomes("connected");
  agent = start("agent");
  await agent.says(/going back from revision 3, which was not confirmed: its agent ended/);
  t.equal(await connect(), "connected");

  await apply(`[{ to: [{ ipBlock: { cidr: ${PEER}/32 } }] }]`);
  await agent.says("revision 4 is confirmed");
  t.equal(await connect(), "connected");
  t.match(await hosts.call("tcpConnect", { host: "10.233.0.9", port: 9 }), { code: "EPERM" });
  t.match(await agent.stop(), { code: 0 });
  await run("enforcement", "remove", "--node", node, "--auto-approve");
});
