/**
 * Three agents in three network namespaces on a three-member etcd, with real programs in the kernel:
 * pushes reach all of them through whatever is killed, cut off or frozen, and after each of these all
 * enforce the same state, which is Git's.
 */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { Test } from "tap";
import { ExampleCluster, HOSTS, NEXT, WORKLOADS, type Host } from "../../examples/cluster/cluster.js";
import { addressOf } from "../../examples/cluster/network.js";
import { readManifests } from "../../src/manifest/read.js";
import type { NodeEndpoints } from "../../src/model/endpoints.js";
import { NodeInventory } from "../../src/reconcile/node-inventory.js";
import { compile } from "../../src/policy/compile/compile.js";
import { whyNoEtcd } from "../etcd/server.js";
import { whyNot } from "../kernel/sandbox.js";
import { HANG_MS, waitUntil } from "../wait.js";

interface Status {
  readonly revision: number | null;
  readonly leader: { readonly id: string } | null;
  readonly nodes: readonly {
    readonly id: string;
    readonly state: string;
    readonly enforcedRevision: number | null;
    readonly rulesetDigest: string | null;
  }[];
}

const nodeOf = (host: Host): string => `node-${host}`;

async function statusSeenBy(cluster: ExampleCluster, host: Host): Promise<Status | null> {
  const { status, stdout } = await cluster.ztap(host, "cluster", "status", "--json");
  if (status !== 0) return null;
  const value: Status = JSON.parse(stdout);
  return value;
}

/** What the agent of a host has to find there. */
const reportOf = (cluster: ExampleCluster, host: Host): NodeEndpoints => ({
  node: nodeOf(host),
  at: "2026-01-01T00:00:00.000Z",
  os: "linux",
  addresses: [addressOf(host)],
  instances: [
    {
      workload: `shop/${WORKLOADS[host]}`,
      instance: "",
      cgroup: `${cluster.id}/${WORKLOADS[host]}`,
      addresses: [],
      ports: [],
    },
  ],
});

function wantedDigest(cluster: ExampleCluster, host: Host): string {
  const files = globSync("*.yaml", { cwd: cluster.repository }).map((path) => {
    const text = readFileSync(join(cluster.repository, path), "utf8");
    return { path, text, blobId: text };
  });
  const inventory = new NodeInventory(readManifests(files).objects, nodeOf(host));
  return compile(inventory.place(HOSTS.map((one) => reportOf(cluster, one))).objects, nodeOf(host)).digest;
}

/** All of `hosts` enforce what Git holds, at the same revision; returns the revision. */
async function settle(cluster: ExampleCluster, hosts: readonly Host[] = HOSTS): Promise<number> {
  const asked = hosts[0] ?? 1;
  return waitUntil(
    async () => {
      const status = await statusSeenBy(cluster, asked);
      if (status === null || status.revision === null) return null;
      const isSettled = hosts.every((host) => {
        const node = status.nodes.find(({ id }) => id === nodeOf(host));
        return (
          node?.state === "healthy" &&
          node.enforcedRevision === status.revision &&
          node.rulesetDigest === wantedDigest(cluster, host)
        );
      });
      return isSettled ? status.revision : null;
    },
    { what: `hosts ${hosts.join(", ")} to enforce what Git holds` },
  );
}

async function leaderOf(cluster: ExampleCluster, asked: Host): Promise<Host> {
  return waitUntil(
    async () => {
      const leader = (await statusSeenBy(cluster, asked))?.leader?.id;
      return HOSTS.find((host) => nodeOf(host) === leader) ?? null;
    },
    { what: "a leader" },
  );
}

/** What the kernels of all hosts say: the next workload is reached on this port, and on no other. */
async function probe(t: Test, cluster: ExampleCluster, open: number, closed: number): Promise<void> {
  for (const host of HOSTS) {
    t.equal(await cluster.connects(host, NEXT[host], open), true, `${host} reaches ${NEXT[host]} on ${open}`);
    t.equal(
      await cluster.connects(host, NEXT[host], closed),
      false,
      `${host} does not reach ${NEXT[host]} on ${closed}`,
    );
    t.equal(await cluster.connects(NEXT[host], host, open), false, `${NEXT[host]} does not reach ${host}`);
  }
}

function other(...taken: readonly Host[]): Host {
  return HOSTS.find((host) => !taken.includes(host)) ?? 1;
}

const turn = (cluster: ExampleCluster, from: number, to: number): string =>
  cluster.push(`from port ${from} to ${to}`, (text) => text.replaceAll(`port: ${from}`, `port: ${to}`));

/** Each push became one version of the policy, in order. */
async function checkRevisions(t: Test, cluster: ExampleCluster, host: Host, head: number): Promise<void> {
  const { stdout } = await cluster.ztap(host, "policy", "history", "shop/web", "--json");
  const { versions }: { readonly versions: readonly { readonly version: number; readonly revision: number }[] } =
    JSON.parse(stdout);
  const wanted = Array.from({ length: head }, (_, index) => head - index);
  t.same(
    versions.map(({ version }) => version),
    wanted,
  );
  t.same(
    versions.map(({ revision }) => revision),
    wanted,
  );
}

const why = whyNot() ?? whyNoEtcd();
await t.test("three nodes on three etcd members", { skip: why ?? false, timeout: HANG_MS }, async (t) => {
  const cluster = new ExampleCluster();
  try {
    await cluster.open();
    await story(t, cluster);
  } finally {
    if (!t.passing()) for (const host of HOSTS) t.comment(cluster.agentLog(host).slice(-3000));
    await cluster.close();
  }
});

async function story(t: Test, cluster: ExampleCluster): Promise<void> {
  await t.test("the policies in Git are enforced in the kernels of all three", async (t) => {
    t.equal(await settle(cluster), 1);
    await probe(t, cluster, 8000, 8001);
    turn(cluster, 8000, 8001);
    t.equal(await settle(cluster), 2);
    await probe(t, cluster, 8001, 8000);
  });

  await t.test("the leader is killed: another one commits the next push", async (t) => {
    const dead = await leaderOf(cluster, 1);
    await cluster.signalAgent(dead, "SIGKILL");
    turn(cluster, 8001, 8000);
    const alive = HOSTS.filter((host) => host !== dead);
    t.equal(await settle(cluster, alive), 3);
    t.not(await leaderOf(cluster, other(dead)), dead);
    t.equal(await cluster.connects(dead, NEXT[dead], 8001), false, "what the dead agent enforced stays in force");
    cluster.startAgent(dead);
    t.equal(await settle(cluster), 3);
    await probe(t, cluster, 8000, 8001);
  });

  await t.test("one etcd member is killed: nothing is lost", async (t) => {
    await cluster.killEtcd(2);
    turn(cluster, 8000, 8001);
    t.equal(await settle(cluster), 4);
    await cluster.startEtcd(2);
    t.equal(await settle(cluster), 4);
    await probe(t, cluster, 8001, 8000);
  });

  await t.test("etcd's majority is gone: enforcement stays, commands name the reason, and all recovers", async (t) => {
    await cluster.killEtcd(1);
    await cluster.killEtcd(2);
    turn(cluster, 8001, 8000);
    const { status, stderr } = await cluster.ztap(3, "policy", "list");
    t.equal(status, 1);
    t.match(stderr, /etcd at .* cannot be reached, or has no majority/);
    await probe(t, cluster, 8001, 8000);
    const restarted: Host = 3;
    await cluster.signalAgent(restarted, "SIGKILL");
    cluster.startAgent(restarted);
    await waitUntil(() => cluster.agentLog(restarted).includes("going on without the store"), {
      what: "the agent that started alone",
    });
    await probe(t, cluster, 8001, 8000);
    await cluster.startEtcd(1);
    await cluster.startEtcd(2);
    t.equal(await settle(cluster), 5);
    await probe(t, cluster, 8000, 8001);
  });

  await t.test("the leader is cut off: it commits nothing, and follows once it is back", async (t) => {
    const lost = await leaderOf(cluster, 1);
    cluster.cut(lost);
    turn(cluster, 8000, 8001);
    t.equal(
      await settle(
        cluster,
        HOSTS.filter((host) => host !== lost),
      ),
      6,
    );
    turn(cluster, 8001, 8000);
    t.equal(
      await settle(
        cluster,
        HOSTS.filter((host) => host !== lost),
      ),
      7,
    );
    t.notMatch(cluster.agentLog(lost), /committed revision [67]\b/);
    cluster.mend(lost);
    t.equal(await settle(cluster), 7);
    await probe(t, cluster, 8000, 8001);
  });

  await t.test("the leader is frozen until its lease expires: it commits nothing when it continues", async (t) => {
    const frozen = await leaderOf(cluster, 1);
    await cluster.signalAgent(frozen, "SIGSTOP");
    turn(cluster, 8000, 8001);
    t.equal(
      await settle(
        cluster,
        HOSTS.filter((host) => host !== frozen),
      ),
      8,
    );
    await cluster.signalAgent(frozen, "SIGCONT");
    turn(cluster, 8001, 8000);
    t.equal(await settle(cluster), 9);
    await probe(t, cluster, 8000, 8001);
    await checkRevisions(t, cluster, 1, 9);
  });
}
