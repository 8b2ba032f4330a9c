/**
 * Ten agents with programs in the kernel, on an etcd that their hosts reach over a network. A commit that would cut a service in use is
 * stopped while it is compared, before any node enforces it; one that cuts nodes off their store is taken back by each of these alone,
 * with the leader and the store dead.
 */
import { join } from "node:path";
import t from "tap";
import { EtcdProcess } from "../../examples/cluster/etcd.js";
import { Ztap, type Running } from "../cli/ztap.js";
import { whyNoEtcd } from "../etcd/server.js";
import { Repository } from "../fakes/repository.js";
import { HANG_MS, pause, waitUntil } from "../wait.js";
import { Sandbox, whyNot } from "./sandbox.js";

const reason = whyNot() ?? whyNoEtcd();
const COUNT = 10;
/** So many of them a bad policy concerns. */
const HURT = 5;

await t.test("ten nodes and two bad changes", { skip: reason ?? false, timeout: 3 * HANG_MS }, async (t) => {
  const PEER = "10.234.0.200";
  const addresses = Array.from({ length: COUNT }, (_unused, index) => `10.234.0.${index + 1}`);
  const sandbox = new Sandbox(t);
  const [machine, elsewhere] = sandbox.network(
    addresses.map((address) => `${address}/24`),
    [`${PEER}/24`],
  );
  const ztap = new Ztap(t);
  const peer = await sandbox.actor({ namespace: elsewhere });
  const { port = 0 } = await peer.call("tcpListen", { host: PEER, port: 0 });
  const etcd = new EtcdProcess({
    ...{ name: "m1", dataDir: ztap.path("etcd"), client: `${PEER}:2379`, peer: `${PEER}:2380`, scheme: "http" },
    ...{ peers: [`m1=http://${PEER}:2380`], flags: [], wrapper: ["ip", "netns", "exec", elsewhere] },
  });
  t.teardown(() => etcd.kill());
  await etcd.start();
  const repository = new Repository(ztap.path("repo"));
  const env = {
    ZTAP_STORE: `etcd://${PEER}:2379/fleet`,
    ZTAP_LISTEN: "off",
    ZTAP_CHECK_INTERVAL: "500ms",
    ZTAP_ALLOW_LOCKOUT: "true",
    ZTAP_SOURCE: repository.path,
    ZTAP_SOURCE_INTERVAL: "500ms",
  };
  const nodes = await Promise.all(
    addresses.map(async (address, index) => {
      const name = sandbox.node(`fleet-${index}`);
      const top = sandbox.cgroup(`fleet-${index}`);
      const system = sandbox.cgroup(`fleet-${index}/system`);
      const web = sandbox.cgroup(`fleet-${index}/web`);
      const host = await sandbox.actor({ namespace: machine, cgroup: system });
      const service = await sandbox.actor({ namespace: machine, cgroup: web });
      const connect = async (actor: typeof host, to: number) =>
        (await actor.call("tcpConnect", { host: PEER, port: to, from: address })).code ?? "connected";
      return {
        ...{ name, address, top, isHurt: index < HURT },
        reachesStore: () => connect(host, 2379),
        isServed: () => connect(service, port),
      };
    }),
  );
  // Each in a cgroup namespace, whose root is the test's cgroup: that is the host of its machine.
  const enter =
    'echo $$ > "$1/cgroup.procs" && exec unshare --cgroup --mount sh -c \'umount "$1" && mount -t cgroup2 none "$1" && ' +
    'echo $$ > "$1/system/cgroup.procs" && shift && exec nsenter "$@"\' sh "$2" "${@:3}"';
  const start = ({ name, top }: (typeof nodes)[number]): Running => {
    const command = [`--net=/run/netns/${machine}`, "--", join(ztap.root, "bin/ztap"), "agent", "--node", name];
    const places = [join(sandbox.cgroupRoot, top), sandbox.cgroupRoot];
    const own = { ...env, ZTAP_STATE_DIR: ztap.path(`state-${name}`), ZTAP_ADDRESS: `${name}:1` };
    return ztap.spawn("bash", ["-c", enter, "bash", ...places, ...command], { env: own });
  };
  const run = async (...args: readonly string[]): Promise<string> => {
    const command = [`--net=/run/netns/${machine}`, "--", join(ztap.root, "bin/ztap"), ...args];
    const { code, stdout, stderr } = await ztap.spawn("nsenter", command, { env }).ended;
    t.equal(code, 0, `${args.join(" ")}: ${stderr}`);
    return stdout;
  };
  const rollout = async () => JSON.parse(await run("rollout", "status", "--json")).rollout;
  const cluster = async () => JSON.parse(await run("cluster", "status", "--json"));

  const push = (subject: string, settings: string, policies: string): void => {
    const declared = nodes.map(
      ({ name, address, isHurt }) => `---
apiVersion: ztap/v1
kind: Node
metadata: { name: ${name}, labels: { hurt: "${isHurt}" } }
spec: { addresses: [${address}] }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: host-${name}, labels: { app: host, hurt: "${isHurt}" } }
spec: { node: ${name}, process: { host: true } }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: web-${name}, labels: { app: web } }
spec: { node: ${name}, process: { cgroup: web }, addresses: [${address}] }
`,
    );
    repository.write(
      "all.yaml",
      `apiVersion: ztap/v1\nkind: Cluster\nmetadata: { name: cluster }\nspec: { rollout: ${settings} }\n${declared.join("")}${policies}`,
    );
    repository.commit(subject);
  };
  const policy = (name: string, labels: string, egress: string): string =>
    `---\napiVersion: ztap/v1\nkind: NetworkPolicy\nmetadata: { name: ${name} }\nspec: { podSelector: { matchLabels: ${labels} }, policyTypes: [Egress], egress: ${egress} }\n`;
  const web = (to: number): string =>
    policy("web", "{ app: web }", `[{ to: [{ ipBlock: { cidr: ${PEER}/32 } }], ports: [{ port: ${to} }] }]`);

  const GUARDED = "{ confirm: 10s, shadow: 2s, gates: { newDenials: 0 }, waves: [{ max: 1, soak: 0s }] }";
  push("What is in use", GUARDED, web(port));
  const agents = nodes.map(start);
  const isEnforced = (revision: number) => (seen: Awaited<ReturnType<typeof cluster>>) =>
    seen.nodes.filter((node: Record<string, unknown>) => node["enforcedRevision"] === revision).length === COUNT;
  await waitUntil(cluster, { is: isEnforced(1), what: "revision 1 on all nodes" });
  t.same(new Set(await Promise.all(nodes.map((node) => node.isServed()))), new Set(["connected"]));

  // Used all the time, so that it is noticed when it is cut.
  const seen = new Set<unknown>();
  let isUsed = true;
  const use = Promise.all(
    nodes.map(async (node) => {
      while (isUsed) {
        seen.add(await node.isServed());
        await pause(100);
      }
    }),
  );
  push("A port that nobody uses", GUARDED, web(port + 1));
  const failed = await waitUntil(rollout, { is: (found) => found?.state === "failed", what: "the gate" });
  t.match(failed, { revision: 2, base: 1, wave: 0, nodes: { released: 0, enforced: 0 } });
  t.match(failed.gates, [{ gate: "newDenials", limit: 0, exceeded: true }]);
  t.match(failed.differences, [{ effect: "denied", direction: "egress", policy: "default/web", file: "all.yaml" }]);
  t.ok(failed.differences[0].count > 0, "live traffic, by file and line");
  t.same(seen, new Set(["connected"]), "no node has enforced it at any time");

  push("No more waves", "{ confirm: 10s }", web(port));
  await waitUntil(rollout, { is: (found) => found?.revision === 3, what: "the mend" });
  await run("rollout", "promote", "--all");
  await waitUntil(cluster, { is: isEnforced(3), what: "revision 3 on all nodes" });

  const cut = policy(
    "host",
    '{ app: host, hurt: "true" }',
    `[{ to: [{ ipBlock: { cidr: ${PEER}/32 } }], ports: [{ port: ${port} }] }]`,
  );
  push("Hosts need no store", "{ confirm: 10s }", `${web(port)}${cut}`);
  const hurt = nodes.filter(({ isHurt }) => isHurt);
  const areCut = () => Promise.all(hurt.map((node) => node.reachesStore()));
  await waitUntil(areCut, { is: (found) => found.every((code) => code === "EPERM"), what: "the cut" });
  // Those that it leaves alone confirm it.
  const isConfirmed = (found: Awaited<ReturnType<typeof cluster>>): boolean =>
    found.nodes.filter((node: Record<string, unknown>) => node["enforcedRevision"] === 4).length >= COUNT - HURT;
  const { leader } = await waitUntil(cluster, { is: isConfirmed, what: "revision 4 on the others" });
  await etcd.kill();
  await agents[nodes.findIndex(({ name }) => name === leader?.id)]?.stop("SIGKILL");
  const areBack = async (): Promise<readonly (string | undefined)[]> => {
    // Nobody listens there any more: what is refused by the other side was let through by this one.
    const codes = await areCut();
    return codes.map(String);
  };
  await waitUntil(areBack, { is: (found) => found.every((code) => code === "ECONNREFUSED"), what: "the way back" });
  t.same(seen, new Set(["connected"]), "nobody else was hurt");
  isUsed = false;
  await use;
  for (const agent of agents) await agent.stop("SIGKILL");
});
