/**
 * Ten agents as processes of their own on a real etcd: a revision reaches them wave by wave, while the leader is killed, a node
 * never answers and the store goes away. The agents enforce nothing, so that one machine has room for them; what they follow is
 * what they would enforce.
 */
import t, { type Test } from "tap";
import type { Rollout } from "../../src/model/rollout.js";
import type { Store } from "../../src/interfaces/store.js";
import { AGENT, policy, Ztap, type Running } from "../cli/ztap.js";
import { withEtcd, whyNoEtcd } from "../etcd/server.js";
import { openStore, QUICK } from "../etcd/stores.js";
import { Repository } from "../fakes/repository.js";
import { HANG_MS, waitUntil } from "../wait.js";

/** The last one is declared, and its agent never starts. */
const NODES = Array.from({ length: 10 }, (_unused, index) => `n${index}`);
const SILENT = "n9";
const CANARY = "n3";

const declared = NODES.map(
  (name, index) => `apiVersion: ztap/v1
kind: Node
metadata: { name: ${name}, labels: { canary: "${name === CANARY}" } }
spec: { addresses: [10.0.0.${index + 1}] }
`,
).join("---\n");

const cluster = (soak: string): string => `apiVersion: ztap/v1
kind: Cluster
metadata: { name: cluster }
spec:
  rollout:
    waves:
    - { nodes: { matchLabels: { canary: "true" } }, soak: ${soak} }
    - { max: 50%, soak: ${soak} }
`;

class Fleet {
  readonly agents = new Map<string, Running>();

  constructor(
    private readonly ztap: Ztap,
    readonly store: Store,
    private readonly url: string,
    private readonly source: string,
  ) {}

  get env(): Readonly<Record<string, string>> {
    return { ZTAP_STORE: this.url };
  }

  run(...args: readonly string[]) {
    return this.ztap.run(args, { env: this.env });
  }

  json(t: Test, schema: string, ...args: readonly string[]) {
    return this.ztap.json(t, schema, args, { env: this.env });
  }

  start(node: string): void {
    const times = ["--heartbeat-interval", "200ms", "--election-timeout", "2s", "--session-ttl", "2s"];
    const args = [...AGENT, ...times, "--node", node, "--address", `${node}:1`, "--source", this.source];
    this.agents.set(
      node,
      this.ztap.start(args, { env: { ...this.env, ZTAP_STATE_DIR: this.ztap.path(`state-${node}`) } }),
    );
  }

  /** The revision that each live agent follows. */
  async followed(): Promise<ReadonlyMap<string, number | null>> {
    return new Map((await this.store.listNodeStatus()).map((status) => [status.node, status.attemptedRevision]));
  }

  /** Waits until exactly these nodes follow a revision, and all others another one. */
  async splits(revision: number, nodes: readonly string[], others: number): Promise<void> {
    await waitUntil(() => this.followed(), {
      is: (found) =>
        NODES.every((node) => node === SILENT || found.get(node) === (nodes.includes(node) ? revision : others)),
      what: `revision ${revision} on ${nodes.join()}, and ${others} on all others`,
    });
  }

  async reaches(revision: number): Promise<void> {
    await this.splits(revision, NODES, revision);
  }

  async rollout(what: string, is: (rollout: Rollout) => boolean): Promise<Rollout> {
    const seen = await waitUntil(() => this.store.readRelease().catch(() => null), {
      is: (found) => found !== null && found.rollout !== null && is(found.rollout),
      what,
    });
    if (seen.rollout === null) throw new Error(what);
    return seen.rollout;
  }

  async leader(): Promise<string> {
    return waitUntil(() => this.store.readLeader(), { what: "a leader" });
  }
}

/** Every record that is seen until the end. */
async function recordRollouts(store: Store, signal: AbortSignal): Promise<readonly Rollout[]> {
  const seen: Rollout[] = [];
  const events = store.watch(signal, ["head"])[Symbol.asyncIterator]();
  while ((await events.next()).done !== true) {
    const { rollout } = await store.readRelease().catch(() => ({ rollout: null }));
    if (rollout !== null) seen.push(rollout);
  }
  return seen;
}

const HALF = ["n0", "n1", "n2", CANARY, "n4"];

async function killLeader(t: Test, fleet: Fleet, push: (port: number) => string): Promise<void> {
  const stop = new AbortController();
  const records = recordRollouts(fleet.store, stop.signal);
  push(81);
  await fleet.rollout("the canary", ({ revision, wave }) => revision === 2 && wave >= 0);
  const leader = await fleet.leader();
  await fleet.agents.get(leader)?.stop("SIGKILL");
  fleet.start(leader);
  await fleet.rollout("the end", ({ state }) => state === "complete");
  await fleet.reaches(2);
  stop.abort();
  const released = new Set((await records).map(({ layers, wave }) => `${wave} ${layers[0]?.nodes.join() ?? ""}`));
  const allowed = ["-1 ", `0 ${CANARY}`, `1 ${HALF.join()}`, `2 ${NODES.join()}`, "2 "];
  t.same(
    [...released].filter((one) => !allowed.includes(one)),
    [],
    "each wave has its nodes",
  );
}

async function loseStore(t: Test, fleet: Fleet, push: (port: number) => string, outage: () => Promise<void>) {
  push(82);
  await fleet.rollout("the canary", ({ revision, settledSince }) => revision === 3 && settledSince !== null);
  await fleet.splits(3, [CANARY], 2);
  await outage();
  await fleet.splits(3, [CANARY], 2);
  t.match(await fleet.json(t, "rollout-promote", "rollout", "promote"), {
    ...{ rollout: { wave: 2, state: "running" }, over: [/soak of wave 1/] },
  });
  await fleet.rollout("the leader to go on", ({ wave, settledSince }) => wave === 1 && settledSince !== null);
  await fleet.splits(3, HALF, 2);
  t.match(await fleet.json(t, "rollout-promote", "rollout", "promote", "--all"), {
    rollout: { state: "complete", base: 2 },
  });
  await fleet.reaches(3);
}

async function abortRollout(t: Test, fleet: Fleet, push: (port: number) => string): Promise<void> {
  push(83);
  await fleet.rollout("the canary", ({ revision, wave }) => revision === 4 && wave === 0);
  await fleet.splits(4, [CANARY], 3);
  t.match(await fleet.json(t, "rollout-status", "rollout", "status"), {
    head: 4,
    rollout: { base: 3, state: "running", wave: 1, subject: "Port 83", nodes: { total: 10, released: 1, enforced: 1 } },
  });
  const text = await fleet.run("rollout", "status");
  t.match(text.stdout, /^State {5}running, wave 1 of 3$/m);
  t.match(text.stdout, /4 wait for wave 2: n0, n1, n2, n4/);
  const status = await fleet.json(t, "cluster-status", "cluster", "status");
  t.match(status, { revision: 4, rollout: { revision: 4, base: 3, wave: 1, waves: 3 } });
  t.equal(status.nodes.find(({ id }: { id: string }) => id === "n0").wave, 2, "it waits for its wave");
  t.match(await fleet.json(t, "rollout-abort", "rollout", "abort"), {
    rollout: { revision: 4, base: 3, state: "aborted" },
  });
  await fleet.reaches(3);
  t.match(await fleet.store.readRelease(), { head: 4 }, "the source does not bring it back");
}

async function beginAnew(t: Test, fleet: Fleet, push: (port: number) => string): Promise<void> {
  push(84);
  await fleet.rollout("the canary", ({ revision, base, wave }) => revision === 5 && base === 3 && wave === 0);
  await fleet.splits(5, [CANARY], 3);
  t.match(await fleet.json(t, "rollout-pause", "rollout", "pause"), { rollout: { state: "paused" } });
  t.match(await fleet.json(t, "cluster-resume", "rollout", "resume"), {
    ...{ resumed: true, suspension: null, rollout: { revision: 5, state: "running", wave: 1 } },
  });
  // To the last revision that all nodes had: the aborted one was none.
  t.match(await fleet.json(t, "rollout-undo", "rollout", "undo", "--auto-approve", "-m", "incident"), { restored: 3 });
  await fleet.reaches(6);
  t.match(await fleet.store.readRelease(), { head: 6, rollout: null });
  const refused = await fleet.run("rollout", "promote", "--json");
  t.match(JSON.parse(refused.stdout), { error: { code: "not-found", message: /went to all nodes at once/ } });
}

async function story(t: Test, fleet: Fleet, repo: Repository, outage: () => Promise<void>): Promise<void> {
  /** The soak counts for the revisions after it. */
  const push = (port: number, soak = "10m"): string => {
    const workload =
      'kind: Workload\nmetadata: { name: web, labels: { app: web } }\nspec: { addresses: ["10.1.0.1"] }\n';
    repo.write("nodes.yaml", `${declared}---\napiVersion: ztap/v1\n${workload}`);
    repo.write("cluster.yaml", cluster(soak));
    repo.write("p.yaml", policy(port));
    return repo.commit(`Port ${port}`);
  };
  push(80, "2s");
  for (const node of NODES) if (node !== SILENT) fleet.start(node);
  await fleet.reaches(1);
  t.match(
    await fleet.store.readRelease(),
    { head: 1, rollout: null },
    "the revision that brings the waves goes to all",
  );
  await t.test("the leader is killed in the middle", (t) => killLeader(t, fleet, push));
  await t.test("the store goes away, and an operator promotes", (t) => loseStore(t, fleet, push, outage));
  await t.test("an operator aborts", (t) => abortRollout(t, fleet, push));
  await t.test("a newer commit begins anew, and an undo goes over it", (t) => beginAnew(t, fleet, push));
}

await t.test("ten agents, wave by wave", { skip: whyNoEtcd() ?? false, timeout: HANG_MS }, async (t) => {
  await withEtcd({ flags: QUICK }, async (etcd) => {
    const ztap = new Ztap(t);
    const url = `etcd://${etcd.endpoints.join(",")}/ztap`;
    const repo = new Repository(ztap.path("repo"));
    const fleet = new Fleet(ztap, openStore(t, etcd.endpoints), url, repo.path);
    const outage = async (): Promise<void> => {
      await etcd.members[0]?.kill();
      await etcd.members[0]?.start();
    };
    try {
      await story(t, fleet, repo, outage);
    } finally {
      if (!t.passing()) for (const [node, { stderr }] of fleet.agents) t.comment(`${node}: ${stderr.slice(-1500)}`);
      await Promise.all([...fleet.agents.values()].filter(({ isOver }) => !isOver).map((one) => one.stop("SIGKILL")));
    }
  });
});
