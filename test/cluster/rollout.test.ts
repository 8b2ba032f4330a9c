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
  ) {}

  get env(): Readonly<Record<string, string>> {
    return { ZTAP_STORE: this.url };
  }

  start(node: string, source: string): void {
    const times = ["--heartbeat-interval", "200ms", "--election-timeout", "2s", "--session-ttl", "2s"];
    const args = [...AGENT, ...times, "--node", node, "--address", `${node}:1`, "--source", source];
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

async function story(t: Test, fleet: Fleet, ztap: Ztap, outage: () => Promise<void>): Promise<void> {
  const repo = new Repository(ztap.path("repo"));
  const push = (port: number, soak = "2s"): string => {
    const workload =
      'kind: Workload\nmetadata: { name: web, labels: { app: web } }\nspec: { addresses: ["10.1.0.1"] }\n';
    repo.write("nodes.yaml", `${declared}---\napiVersion: ztap/v1\n${workload}`);
    repo.write("cluster.yaml", cluster(soak));
    repo.write("p.yaml", policy(port));
    return repo.commit(`Port ${port}`);
  };
  push(80);
  for (const node of NODES) if (node !== SILENT) fleet.start(node, repo.path);
  await fleet.reaches(1);
  t.match(
    await fleet.store.readRelease(),
    { head: 1, rollout: null },
    "the revision that brings the waves goes to all",
  );

  t.comment("the leader is killed after the first wave");
  push(81);
  await fleet.rollout("the canary", ({ revision, wave }) => revision === 2 && wave === 0);
  const leader = await fleet.leader();
  const status = await ztap.json(t, "cluster-status", ["cluster", "status"], { env: fleet.env });
  t.match(status, { revision: 2, rollout: { revision: 2, base: 1, wave: 1, waves: 3 } });
  t.equal(status.nodes.find(({ id }: { id: string }) => id === "n0").wave, 2, "it waits for its wave");
  await fleet.agents.get(leader)?.stop("SIGKILL");
  fleet.start(leader, repo.path);
  await fleet.rollout("half of them", ({ wave }) => wave === 1);
  const half = ["n0", "n1", "n2", CANARY, "n4"];
  const { layers } = await fleet.rollout("half of them", ({ revision }) => revision === 2);
  t.same(layers[0]?.nodes ?? NODES, half);
  await fleet.rollout("the end", ({ state }) => state === "complete");
  await fleet.reaches(2);

  t.comment("the store goes away while the canary soaks, and nobody goes on without it");
  // The soak counts for the revisions after it.
  push(82, "10m");
  await fleet.rollout("the canary", ({ revision, settledSince }) => revision === 3 && settledSince !== null);
  await fleet.splits(3, [CANARY], 2);
  await outage();
  await fleet.rollout("the end", ({ state, revision }) => revision === 3 && state === "complete");
  await fleet.reaches(3);

  t.comment("an operator aborts, without a leader's help, and the source does not bring the commit back");
  push(83, "10m");
  await fleet.rollout("the canary", ({ revision, wave }) => revision === 4 && wave === 0);
  await fleet.splits(4, [CANARY], 3);
  const seen = await ztap.json(t, "rollout-status", ["rollout", "status"], { env: fleet.env });
  t.match(seen, {
    head: 4,
    rollout: { base: 3, state: "running", wave: 1, subject: "Port 83", nodes: { total: 10, released: 1, enforced: 1 } },
  });
  const text = await ztap.run(["rollout", "status"], { env: fleet.env });
  t.match(text.stdout, /^State {5}running, wave 1 of 3$/m);
  t.match(text.stdout, /4 wait for wave 2: n0, n1, n2, n4/);
  t.match(await ztap.json(t, "rollout-abort", ["rollout", "abort"], { env: fleet.env }), {
    rollout: { revision: 4, base: 3, state: "aborted" },
  });
  await fleet.reaches(3);
  t.match(await fleet.store.readRelease(), { head: 4 });

  t.comment("a newer commit begins anew over the last revision that all had, and an operator promotes it");
  push(84, "10m");
  await fleet.rollout("the canary", ({ revision, base, wave }) => revision === 5 && base === 3 && wave === 0);
  await fleet.splits(5, [CANARY], 3);
  t.match(await ztap.json(t, "rollout-pause", ["rollout", "pause"], { env: fleet.env }), {
    rollout: { state: "paused" },
  });
  t.match(await ztap.json(t, "cluster-resume", ["rollout", "resume"], { env: fleet.env }), {
    ...{ resumed: true, suspension: null, rollout: { revision: 5, state: "running", wave: 1 } },
  });
  t.match(await ztap.json(t, "rollout-promote", ["rollout", "promote"], { env: fleet.env }), {
    ...{ rollout: { wave: 2, state: "running" }, over: [/soak of wave 1/] },
  });
  await fleet.splits(5, half, 3);
  t.match(await ztap.json(t, "rollout-promote", ["rollout", "promote", "--all"], { env: fleet.env }), {
    rollout: { state: "complete", base: 3 },
  });
  await fleet.reaches(5);

  t.comment("an undo goes over waves, to the last revision that all nodes had: the aborted one was none");
  const undo = ["rollout", "undo", "--auto-approve", "-m", "incident"];
  t.match(await ztap.json(t, "rollout-undo", undo, { env: fleet.env }), { restored: 3 });
  await fleet.reaches(6);
  t.match(await fleet.store.readRelease(), { head: 6, rollout: null });
  t.match(await ztap.json(t, "error", ["rollout", "promote"], { env: fleet.env, code: 1 }), {
    error: { code: "not-found", message: /went to all nodes at once/ },
  });
}

await t.test("ten agents, wave by wave", { skip: whyNoEtcd() ?? false, timeout: HANG_MS }, async (t) => {
  await withEtcd({ flags: QUICK }, async (etcd) => {
    const ztap = new Ztap(t);
    const url = `etcd://${etcd.endpoints.join(",")}/ztap`;
    const fleet = new Fleet(ztap, openStore(t, etcd.endpoints), url);
    const outage = async (): Promise<void> => {
      await etcd.members[0]?.kill();
      await etcd.members[0]?.start();
    };
    try {
      await story(t, fleet, ztap, outage);
    } finally {
      if (!t.passing()) for (const [node, { stderr }] of fleet.agents) t.comment(`${node}: ${stderr.slice(-1500)}`);
      await Promise.all([...fleet.agents.values()].filter(({ isOver }) => !isOver).map((one) => one.stop("SIGKILL")));
    }
  });
});
