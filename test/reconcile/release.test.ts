/** A node follows what a rollout releases to it, goes back where that is taken back, and says how its trial ended. */
import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { Rollout } from "../../src/model/rollout.js";
import { startRollout } from "../../src/plan/rollout/start.js";
import { Follower } from "../../src/reconcile/follower.js";
import { objectsOf, policy, workload } from "../builders/state.js";
import { commitOnHead } from "../contract/store-commits.js";
import { recordTelemetry, silentLogger } from "../fakes/ambient.js";
import { FakeEnforcer, FakeMachine } from "../fakes/enforcer.js";
import { MemoryLastGood } from "../fakes/last-good.js";
import { fakeAccess } from "../fakes/management-access.js";
import { draft } from "../fakes/objects.js";
import { FaultyStore } from "../fakes/store.js";

const state = (port: number, confirm = ""): string =>
  `apiVersion: ztap/v1
kind: Cluster
metadata: { name: cluster }
spec: { rollout: { ${confirm}waves: [{ max: 1 }] } }
` +
  workload("web@n1 10.0.0.1 app=web") +
  policy("web", `  podSelector: {}\n  ingress: [{ ports: [{ port: ${port} }] }]`);

function setUp() {
  const store = new FaultyStore(openMemoryStore(systemClock));
  const machine = new FakeMachine();
  const lastGood = new MemoryLastGood();
  const network = { isUp: true };
  const skew = { ms: 0 };
  const clock = {
    now: () => systemClock.now() + skew.ms,
    monotonic: () => systemClock.monotonic() + skew.ms,
    sleep: systemClock.sleep.bind(systemClock),
  };
  const reachability = {
    reached: async () => (network.isUp ? [{ role: "store" as const, host: "10.9.9.9", port: 2379 }] : []),
  };
  const start = (): Follower =>
    new Follower(
      {
        ...{ store, lastGood, clock, reachability, logger: silentLogger, telemetry: recordTelemetry().telemetry },
        enforcer: new FakeEnforcer(machine),
        managementAccess: fakeAccess({ agent: "" }).reader,
      },
      "n1",
      "boot-1",
    );
  const commit = async (text: string): Promise<void> => {
    const objects = objectsOf(text);
    const next = draft([...objects.values()].map(({ object }) => object));
    const head = await store.readHead();
    const before = head === null ? null : (await store.readState(head)).objects;
    await commitOnHead(store, { ...next, rollout: startRollout(before, next) });
  };
  const change = async (changes: (rollout: Rollout) => Partial<Rollout>): Promise<void> => {
    const { rollout } = await store.readRelease();
    if (rollout === null) throw new Error("there is no rollout");
    const next = { ...rollout, ...changes(rollout), serial: rollout.serial + 1 };
    await store.writeRollout(next, { expect: rollout, fence: null });
  };
  const release = () =>
    change(({ revision, commitId }) => ({
      state: "running",
      wave: 0,
      layers: [{ revision, commitId, nodes: ["n1"] }],
    }));
  const status = async () => (await store.listNodeStatus())[0];
  /** The port that the machine lets in. */
  const port = (): unknown => {
    const [profile] = [...machine.items.values()].filter(({ key }) => key.startsWith("profile/"));
    return JSON.parse(profile?.value ?? "null")?.[0]?.ports[0]?.first;
  };
  return { store, lastGood, network, skew, start, commit, change, release, status, port };
}

t.test("a revision comes into force once it is released, and goes where it is taken back", async (t) => {
  const { start, commit, change, release, status, port } = setUp();
  const follower = start();
  await commit(state(80));
  await follower.reconcile();
  t.equal(port(), 80);
  await commit(state(81));
  await follower.reconcile();
  t.equal(port(), 80, "it waits");
  t.match(await status(), { attemptedRevision: 1, enforcedRevision: 1, state: "InSync" });
  await release();
  await follower.reconcile();
  t.equal(port(), 81);
  t.match(await status(), { attemptedRevision: 2, enforcedRevision: 2, state: "InSync" });
  await change(() => ({ state: "failed", layers: [] }));
  await follower.reconcile();
  t.equal(port(), 80, "the gate failed");
  t.match(await status(), { attemptedRevision: 1, enforcedRevision: 1, state: "InSync" });
  await commit(state(82));
  await follower.reconcile();
  t.equal(port(), 80, "a newer revision waits as well");
  await change(() => ({ state: "complete", layers: [] }));
  await follower.reconcile();
  t.equal(port(), 82);
});

t.test("without the store, or with a damaged record, a node keeps what it has, also after a restart", async (t) => {
  const { store, start, commit, release, port } = setUp();
  const follower = start();
  await commit(state(80));
  await follower.reconcile();
  await commit(state(81));
  store.cutOff();
  await t.rejects(follower.reconcile());
  t.equal(port(), 80);
  const next = start();
  await next.loadLastGood();
  await t.rejects(next.reconcile());
  t.equal(port(), 80);
  store.mend();
  await next.reconcile();
  t.equal(port(), 80);
  await release();
  await next.reconcile();
  t.equal(port(), 81);
});

t.test("a status says that a revision is on trial, and that the node went back from it", async (t) => {
  const { store, network, skew, start, commit, release, status, port } = setUp();
  const follower = start();
  const confirmed = (port: number): string => state(port, "confirm: 10s, ");
  await commit(confirmed(80));
  await follower.reconcile();
  t.notOk((await status())?.unconfirmed);
  await commit(confirmed(81));
  await release();
  await follower.reconcile();
  t.match(await status(), { enforcedRevision: 2, unconfirmed: { revision: 2, until: /Z$/ } });
  await follower.checkTrial();
  await follower.reconcile();
  t.match(await status(), { enforcedRevision: 2 });
  t.notOk((await status())?.unconfirmed, "it is confirmed");

  await commit(confirmed(82));
  await release();
  await follower.reconcile();
  t.equal(port(), 82);
  network.isUp = false;
  await follower.checkTrial();
  skew.ms = 11_000;
  await follower.checkTrial();
  await follower.reconcile();
  t.equal(port(), 81);
  const commitId = (await store.readRevision(3))?.commitId;
  t.match(await status(), { attemptedRevision: 3, reverted: { revision: 3, commitId, reason: /cannot be reached/ } });
  t.notOk((await status())?.unconfirmed);
});
