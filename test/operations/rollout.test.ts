/** Rollouts as operators and reports see them: every committer goes through waves, and an undo goes over them. */
import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import type { Cluster, Node, ZtapObject } from "../../src/model/objects.js";
import type { Rollout } from "../../src/model/rollout.js";
import { refKey } from "../../src/model/state.js";
import type { NodeStatus } from "../../src/model/status.js";
import { readManifests } from "../../src/manifest/read.js";
import { applyPlan } from "../../src/operations/change/apply.js";
import { laggingOf, progressOf, readClusterStatus } from "../../src/operations/cluster/membership.js";
import { reportPolicy } from "../../src/operations/policy/report.js";
import { rollbackPolicy, syncPolicy } from "../../src/operations/policy/write.js";
import { abortRollout, pauseRollout, promoteRollout, resumeAll } from "../../src/operations/rollout/control.js";
import { readRolloutStatus } from "../../src/operations/rollout/status.js";
import { commitUndo, planUndo } from "../../src/operations/rollout/undo.js";
import { planChanges } from "../../src/plan/plan.js";
import { plainStyle } from "../../src/views/style.js";
import { renderRolloutStatus } from "../../src/views/rollout-status.js";
import { PLAN } from "../contract/store-rollouts.js";
import { seededRandom } from "../fakes/ambient.js";
import { ManualClock } from "../fakes/clock.js";
import { draft, policy } from "../fakes/objects.js";
import { FaultyStore } from "../fakes/store.js";
import { setUp as setUpLeader } from "../reconcile/leader-setup.js";

const CLUSTER: Cluster = {
  ...{ apiVersion: "ztap/v1", kind: "Cluster", metadata: { name: "cluster" } },
  spec: { rollout: { ...PLAN, freeze: [] } },
};
const NAMES = ["n0", "n1", "n2", "n3"];
const NODES: readonly Node[] = NAMES.map((name, index) => ({
  ...{ apiVersion: "ztap/v1", kind: "Node", metadata: { name, labels: { canary: String(index === 0) } } },
  spec: { addresses: [] },
}));

function setUp() {
  const clock = new ManualClock();
  const store = openMemoryStore(clock);
  const deps = { store, clock, random: seededRandom(3), read: readManifests, requireWayIn: async () => undefined };
  const objects = (port: number): readonly ZtapObject[] => [
    CLUSTER,
    ...NODES,
    policy("web", port),
    {
      ...{
        apiVersion: "ztap/v1",
        kind: "Workload",
        metadata: { name: "web", namespace: "default", labels: { app: "web" } },
      },
      spec: { node: "n1", cgroup: "web", addresses: ["10.0.0.1"], ports: [] },
    },
  ];
  /** Commits as `apply` does. */
  const apply = async (port: number): Promise<void> => {
    const next = draft(objects(port));
    const desired = { source: next.source, objects: new Map(next.objects.map((one) => [refKey(one.ref), one])) };
    const head = await store.readHead();
    const base = head === null ? null : await store.readState(head);
    await applyPlan(
      deps,
      { plan: planChanges(desired, base), desired },
      {
        ...{ author: "ops@host", node: "n1", reason: "", override: true },
      },
    );
  };
  const rollout = async (): Promise<Rollout> => {
    const found = (await store.readRelease()).rollout;
    if (found === null) throw new Error("there is no rollout");
    return found;
  };
  const report = (node: string, changes: Partial<NodeStatus> = {}) =>
    store.writeNodeStatus({
      ...{ node, backend: "ebpf", attemptedRevision: 1, enforcedRevision: 1, rulesetDigest: null, state: "InSync" },
      ...{ message: null, drift: [], healed: 0, subjects: [], observedAt: "2026-01-01T00:00:00.000Z", ...changes },
    });
  /** Every node lives, and enforces the first revision; the second one is head. */
  const begin = async (): Promise<void> => {
    await apply(1);
    for (const id of NAMES) {
      await store.joinMember({ id, address: `${id}:1`, joinedAt: "2026-01-01T00:00:00.000Z" });
      await store.heartbeat({ id, address: `${id}:1`, holder: id }, 60_000);
      await report(id);
    }
    await apply(2);
  };
  return { clock, store, deps, apply, rollout, report, begin };
}

t.test("apply, policy sync and policy rollback begin a rollout by the plan of head", async (t) => {
  const { store, deps, apply, rollout } = setUp();
  await apply(1);
  t.same(await store.readRelease(), { head: 1, rollout: null }, "there was no head before");
  await apply(2);
  t.match(await rollout(), { revision: 2, base: 1, state: "shadow", plan: { waves: PLAN.waves } });
  const writer = { node: "n1", holder: "h", author: "ops@host", reason: "", override: true };
  const text = JSON.stringify(policy("web", 3));
  await syncPolicy(deps, { path: "p.yaml", text, blobId: text }, { name: "web", namespace: null }, writer);
  t.match(await rollout(), { revision: 3, base: 1 });
  await rollbackPolicy(deps, { namespace: "default", name: "web" }, 1, writer);
  t.match(await rollout(), { revision: 4, base: 1 });
});

t.test(
  "the leader begins a rollout as well, and a commit that removes the waves does not get around them",
  async (t) => {
    const { store, source, leader } = await setUpLeader();
    const waves =
      "---\napiVersion: ztap/v1\nkind: Cluster\nmetadata: { name: cluster }\nspec: { rollout: { waves: [{ max: 1 }] } }\n";
    source.text += waves;
    await leader.reconcile();
    t.match(await store.readRelease(), { head: 1, rollout: null });
    source.push("2", source.text.replace(waves, ""));
    await leader.reconcile();
    t.match(await store.readRelease(), { head: 2, rollout: { revision: 2, base: 1, plan: { waves: [{ max: 1 }] } } });
    source.push("3", source.text.replace("ingress: []", "ingress: [{}]"));
    await leader.reconcile();
    t.match(await store.readRelease(), { head: 3, rollout: { revision: 3, base: 1, plan: { waves: [{ max: 1 }] } } });
  },
);

t.test("an undo goes back to the last revision that every node had, and takes all nodes there", async (t) => {
  const { store, deps, apply, rollout, begin } = setUp();
  await begin();
  await apply(3);
  const request = { author: "ops@host", node: "n1", reason: "" };
  const undo = await planUndo(store, null);
  t.equal(undo.target.revision.number, 1, "not 2, which was replaced");
  t.match(await commitUndo(deps, undo, request), { outcome: "undone", revision: { number: 4, restores: 1 } });
  t.match(await store.readRelease(), { head: 4, rollout: null });

  await apply(5);
  await promoteRollout(deps, { by: "ops@host", all: true });
  t.match(await rollout(), { state: "complete", base: 4 });
  t.equal((await planUndo(store, null)).target.revision.number, 4);

  // Git's revert is head, and waits; the canary has the revision between.
  await apply(6);
  await promoteRollout(deps, { by: "ops@host", all: false });
  await apply(5);
  t.match(await rollout(), { base: 5, layers: [{ nodes: ["n0"] }] });
  const digests = async (number: number) => (await store.readRevision(number))?.entries.map(({ digest }) => digest);
  t.same(await digests(7), await digests(5));
  const same = await planUndo(store, null);
  t.match(await commitUndo(deps, same, request), { outcome: "undone", revision: { number: 8 } });
  t.match(await store.readRelease(), { rollout: null }, "the canary goes back as well");
});

t.test("operators act on a rollout that is under way, and learn what they go over", async (t) => {
  const { clock, store, deps, apply, rollout, begin, report } = setUp();
  await t.rejects(pauseRollout(deps, "ops"), { code: "not-found", message: /no revision/ });
  await apply(1);
  for (const act of [() => pauseRollout(deps, "ops"), () => abortRollout(deps, "ops")])
    await t.rejects(act(), { code: "not-found", message: /went to all nodes at once/ });
  await begin();
  t.match(await pauseRollout(deps, "ops@host"), { state: "paused", by: "ops@host" });
  await t.rejects(pauseRollout(deps, "ops@host"), { code: "usage", message: /is paused: paused by ops@host/ });
  const suspension = { by: "ops", reason: "r", since: new Date(clock.now()).toISOString(), until: null };
  await store.writeSuspension(suspension);
  t.match(await resumeAll(deps, "ops@host", false), { suspension, rollout: { state: "shadow" }, failed: null });
  t.match(await resumeAll(deps, "ops@host", false), { suspension: null, rollout: null, failed: null });
  const shadow = { revision: 2, commitId: (await rollout()).commitId, since: "2026-01-01T00:00:00.000Z" };
  await report("n1", { shadow: { ...shadow, judged: 5, newDenials: 2, newAllows: 0, differences: [] } });
  const { over } = await promoteRollout(deps, { by: "ops@host", all: false });
  t.match(over, [/the time in which nodes compare/, /^gate newDenials: 2/]);
  t.match(await rollout(), { state: "running", wave: 0, waived: ["newDenials"], layers: [{ nodes: ["n0"] }] });
  t.match(await abortRollout(deps, "ops@host"), { state: "aborted", layers: [] });
  const aborted = { code: "usage", message: /is aborted/ };
  await t.rejects(promoteRollout(deps, { by: "ops", all: true }), aborted);
  await t.rejects(abortRollout(deps, "ops"), aborted);
  await store.writeRollout(
    { ...(await rollout()), state: "failed", serial: 99 },
    { expect: await rollout(), fence: null },
  );
  t.match(await resumeAll(deps, "ops", false), { rollout: null, failed: { revision: 2 } });
  t.match(await resumeAll(deps, "ops", true), { rollout: { state: "shadow", wave: -1 }, failed: null });
});

t.test("a node that waits for its wave does not lag, and each report says what it waits for", async (t) => {
  const { clock, store, deps, begin, report, rollout } = setUp();
  await begin();
  await promoteRollout(deps, { by: "ops@host", all: false });
  await report("n0", { attemptedRevision: 2, enforcedRevision: 2 });
  const status = await readClusterStatus(deps);
  t.match(status, { revision: 2, rollout: { revision: 2, base: 1, state: "running", wave: 1, waves: 3 } });
  t.match(
    status.nodes.map(({ id, lag, wave }) => [id, lag, wave]),
    [
      ["n0", 0, null],
      ["n1", 0, 2],
      ["n2", 0, 3],
      ["n3", 0, 3],
    ],
  );
  t.same(progressOf(status), { enforced: 1, waiting: 3, expected: 4 });
  t.same(laggingOf(status).nodes, []);
  await abortRollout(deps, "ops@host");
  await report("n0");
  const aborted = await readClusterStatus(deps);
  t.same(
    progressOf(aborted),
    { enforced: 0, waiting: 4, expected: 4 },
    "all are where they should be, and none at head",
  );
  t.match(aborted, { rollout: { state: "aborted" }, nodes: NAMES.map(() => ({ released: 1, lag: 0, wave: null })) });
  await store.writeRollout(
    { ...(await rollout()), state: "failed", serial: 50 },
    { expect: await rollout(), fence: null },
  );
  await resumeAll(deps, "ops@host", true);
  await promoteRollout(deps, { by: "ops@host", all: false });

  const readGit = async () => ({ objects: null, why: "no source is polled" });
  const reported = await reportPolicy(
    { store, clock, openLocal: async () => null, readGit },
    { namespace: "default", name: "web" },
  );
  t.match(reported.nodes, [
    { node: "n1", state: "InSync", desiredRevision: 1, message: /revision 2 is not released to it/ },
  ]);

  const difference = {
    ...{ effect: "denied" as const, direction: "ingress" as const, policy: "default/web", file: "web.yaml", line: 7 },
    ...{ workload: "default/web", count: 3 },
  };
  const shadow = { revision: 2, commitId: (await rollout()).commitId, since: "2026-01-01T00:00:00.000Z" };
  const counts = { judged: 10, newDenials: 3, newAllows: 0, differences: [difference] };
  for (const node of ["n1", "n2"]) await report(node, { shadow: { ...shadow, ...counts } });
  await store.endHeartbeat("n3", "n3");
  await report("n0", { attemptedRevision: 2, state: "Stalled", message: "no memory" });
  const found = await readRolloutStatus(deps);
  t.match(found.rollout, {
    nodes: { total: 4, released: 1, enforced: 0 },
    compared: { nodes: 2, connections: 20 },
    differences: [{ count: 6, nodes: ["n1", "n2"], workloads: ["default/web"], file: "web.yaml", line: 7 }],
    behind: [
      { node: "n0", progress: "stalled", released: 2, message: "no memory" },
      { node: "n1", progress: "waiting", released: 1, wave: 2 },
      { node: "n2", wave: 3 },
      { node: "n3", wave: 3 },
    ],
  });
  const text = renderRolloutStatus(found, plainStyle);
  t.match(text, /^Rollout {3}revision 2, over revision 1$/m);
  t.match(text, /would deny 6 of ingress of default\/web on n1, n2, default\/web \(web\.yaml:7\)/);
  t.match(text, /n0 {2}stalled: no memory/);
  t.match(renderRolloutStatus(found, { ...plainStyle, width: 100 }), /Nodes {5}\[-{6} {18}\]/);
});

t.test("a promotion means the wave and the revision that it found, and no later one", async (t) => {
  for (const meanwhile of ["a wave", "a commit"] as const) {
    const { store, deps, apply, rollout, begin } = setUp();
    await begin();
    const before = await rollout();
    let isFirst = true;
    const raced = new (class extends FaultyStore {
      override async writeRollout(...args: Parameters<FaultyStore["writeRollout"]>): Promise<boolean> {
        if (isFirst && meanwhile === "a wave") await promoteRollout(deps, { by: "other@host", all: false });
        else if (isFirst) await apply(9);
        isFirst = false;
        return super.writeRollout(...args);
      }
    })(store);
    const promoting = promoteRollout({ ...deps, store: raced }, { by: "ops@host", all: meanwhile === "a commit" });
    await t.rejects(promoting, { code: "lost-race", message: /nothing was promoted/ }, meanwhile);
    const after = await rollout();
    if (meanwhile === "a wave") t.match(after, { wave: 0, by: "other@host" });
    else t.match(after, { wave: -1, revision: before.revision + 1 });
  }
});
