/** While a revision waits for a node, its follower compares it with live traffic, reports, and changes nothing else. */
import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { Release, Rollout } from "../../src/model/rollout.js";
import type { ShadowCount } from "../../src/interfaces/enforcer.js";
import type { Rule } from "../../src/model/ruleset.js";
import { Follower } from "../../src/reconcile/follower.js";
import { recordTelemetry, silentLogger } from "../fakes/ambient.js";
import { FakeEnforcer, FakeMachine } from "../fakes/enforcer.js";
import { MemoryLastGood } from "../fakes/last-good.js";
import { FaultyStore } from "../fakes/store.js";
import { draft } from "../fakes/objects.js";
import { objectsOf, policy, workload } from "../builders/state.js";
import { commitOnHead } from "../contract/store-commits.js";

const BASE = workload("web@n1 10.0.0.1 app=web") + workload("db@n1 10.0.0.2 app=db");
const ingress = (rules: string) => policy("db", `  podSelector: { matchLabels: { app: db } }\n  ingress: ${rules}`);
/** Revisions 1 to 3; 3 is head, and in force. */
const [CLOSED, NEWER, OPEN] = [BASE + ingress("[]"), BASE + ingress("[{ ports: [{ port: 81 }] }]"), BASE];

const ROLLOUT: Omit<Rollout, "revision" | "base"> = {
  commitId: "c",
  layers: [],
  state: "shadow",
  wave: -1,
  plan: { waves: [], shadow: "0s", gates: {}, onFailure: "revert", freeze: [] },
  since: "2026-01-01T00:00:00.000Z",
  ...{ settledSince: null, term: null, message: null, by: null, waived: [], serial: 1 },
};

async function setUp(confirm = "") {
  const store = openMemoryStore(systemClock);
  const machine = new FakeMachine();
  const told = recordTelemetry();
  const rollout = { awaited: null as number | null };
  const released = new (class extends FaultyStore {
    /** Nodes enforce head, and wait for an earlier revision. */
    override async readRelease(options?: { readonly watched?: boolean }): Promise<Release> {
      const { head } = await super.readRelease(options);
      const { awaited: revision } = rollout;
      return { head, rollout: revision === null || head === null ? null : { ...ROLLOUT, revision, base: head } };
    }
  })(store);
  const start = (): Follower =>
    new Follower(
      {
        store: released,
        enforcer: new FakeEnforcer(machine),
        lastGood: new MemoryLastGood(),
        managementAccess: null,
        clock: systemClock,
        logger: silentLogger,
        telemetry: told.telemetry,
      },
      "n1",
    );
  const commit = (text: string) =>
    commitOnHead(store, draft([...objectsOf(text).values()].map(({ object }) => object)));
  for (const state of [CLOSED, NEWER, OPEN]) await commit(confirm + state);
  const status = async () => (await store.listNodeStatus())[0];
  return { store, machine, told, rollout, start, commit, status };
}

const rule = (namespace: string, line?: number): Rule => ({
  key: "k",
  policy: { namespace, name: "allow" },
  direction: "ingress",
  index: 0,
  ...(line === undefined ? {} : { file: "a.yaml", line }),
});
const denied = (count: number, by: Partial<ShadowCount> = {}): ShadowCount => ({
  ...{ effect: "denied", direction: "ingress", workload: "default/db", rule: null, comingRule: null, count },
  ...by,
});

t.test("a revision that waits is compared and reported; what is in force stays so", async (t) => {
  const { machine, rollout, start, status } = await setUp();
  const follower = start();
  await follower.reconcile();
  const before = new Map(machine.items);
  const applied = machine.applied;
  t.equal((await status())?.shadow, undefined);

  rollout.awaited = 1;
  await follower.reconcile();
  t.match(await status(), {
    state: "InSync",
    enforcedRevision: 3,
    shadow: { revision: 1, judged: 0, newDenials: 0, newAllows: 0, differences: [] },
  });
  machine.differ(denied(2));
  machine.differ(denied(5, { rule: rule("default", 7) }));
  machine.differ(denied(4, { rule: rule("default", 7), comingRule: rule("default", 9) }));
  machine.differ(denied(1, { effect: "allowed", comingRule: rule("") }));
  await follower.reconcile();
  t.match((await status())?.shadow, {
    judged: 12,
    newDenials: 11,
    newAllows: 1,
    differences: [
      { effect: "denied", policy: "default/allow", file: "a.yaml", line: 7, count: 5 },
      { effect: "denied", policy: "default/allow", line: 9, count: 4 },
      { effect: "denied", workload: "default/db", policy: "default/db", file: "policies.yaml", line: 1, count: 2 },
      { effect: "allowed", policy: null, file: null, line: null, count: 1 },
    ],
  });
  t.same(follower.comingNames.policiesOf("default/db", "ingress")[0]?.policy, "default/db");
  t.same(follower.names.policiesOf("default/db", "ingress"), []);
  t.same(machine.items, before);
  t.equal(machine.applied, applied);

  rollout.awaited = null;
  await follower.reconcile();
  t.equal((await status())?.shadow, undefined);
  t.equal(machine.isShadowed, false);
});

t.test("an instance that changes writes the shadow anew, and another revision replaces it", async (t) => {
  const { machine, rollout, start, status } = await setUp();
  const follower = start();
  rollout.awaited = 1;
  await follower.reconcile();
  machine.differ(denied(3));
  machine.items.delete("link/default/db");
  await follower.reconcile();
  t.match(await status(), { state: "InSync", shadow: { revision: 1, newDenials: 3 } });
  machine.differ(denied(1));
  // The next agent goes on.
  const next = start();
  await next.reconcile();
  t.match((await status())?.shadow, { revision: 1, newDenials: 4 });
  rollout.awaited = 2;
  await next.reconcile();
  t.match((await status())?.shadow, { revision: 2, newDenials: 0 });
});

t.test("no shadow stands while a revision is on trial", async (t) => {
  const { machine, rollout, start, commit, status } = await setUp(
    "apiVersion: ztap/v1\nkind: Cluster\nmetadata: { name: cluster }\nspec: { rollout: { confirm: 10s } }\n---\n",
  );
  const follower = start();
  rollout.awaited = 1;
  await follower.reconcile();
  t.equal(machine.isShadowed, true);
  await commit(
    `apiVersion: ztap/v1\nkind: Cluster\nmetadata: { name: cluster }\nspec: { rollout: { confirm: 10s } }\n---\n${NEWER}`,
  );
  await follower.reconcile();
  t.not(machine.deadline, null);
  t.equal(machine.isShadowed, false);
  t.equal((await status())?.shadow, undefined);
  t.equal(await follower.checkTrial(), true);
  await follower.reconcile();
  t.equal(machine.deadline, null);
  t.match(await status(), { enforcedRevision: 4, shadow: { revision: 1 } });
});

t.test("a revision that cannot be compared fails nothing else", async (t) => {
  const { rollout, start, status } = await setUp();
  const follower = start();
  rollout.awaited = 99;
  await follower.reconcile();
  t.match(await status(), { state: "InSync", enforcedRevision: 3 });
  t.equal((await status())?.shadow, undefined);
});
