/** What the follower says of workloads whose cgroups come and go with what runs in them. */
import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { Follower } from "../../src/reconcile/follower.js";
import { objectsOf, policy, workload } from "../builders/state.js";
import { commitOnHead } from "../contract/store-commits.js";
import { recordTelemetry, silentLogger } from "../fakes/ambient.js";
import { FakeEnforcer, FakeMachine } from "../fakes/enforcer.js";
import { draft } from "../fakes/objects.js";

const STATE =
  workload("web@n1 10.0.0.1 app=web") +
  workload("db@n1 10.0.0.2 app=db") +
  policy("deny", "  podSelector: { matchLabels: { app: db } }\n  ingress: []");

t.test("a cgroup that goes, comes or is made anew is told at info level, and is no drift", async (t) => {
  const store = openMemoryStore(systemClock);
  t.teardown(() => store.close());
  const machine = new FakeMachine();
  const { telemetry, calls } = recordTelemetry();
  const told: string[] = [];
  const logger = {
    ...silentLogger,
    info: (message: string) => void told.push(`info ${message}`),
    warn: (message: string) => void told.push(`warn ${message}`),
  };
  const enforcer = new FakeEnforcer(machine);
  const deps = { store, enforcer, lastGood: null, managementAccess: null, clock: systemClock, logger, telemetry };
  const follower = new Follower(deps, "n1");
  await commitOnHead(store, draft([...objectsOf(STATE).values()].map(({ object }) => object)));
  await follower.reconcile();
  told.splice(0);
  const detach = (): boolean => machine.items.delete("link/default/db") && machine.items.delete("subject/default/db");
  detach();
  machine.absent.add("default/db");
  await follower.reconcile();
  machine.absent.delete("default/db");
  machine.places.set("default/db", "second");
  await follower.reconcile();
  t.ok(machine.items.has("link/default/db"));
  detach();
  machine.places.set("default/db", "third");
  await follower.reconcile();
  t.ok(machine.items.has("link/default/db"));
  t.strictSame(told, [
    "info workload default/db: its cgroup is gone",
    "info workload default/db: new cgroup attached",
    "info workload default/db: new cgroup attached",
  ]);
  t.notOk(calls.some(([name]) => name === "drift" || name === "healed"));
  t.match(await store.listNodeStatus(), [{ state: "InSync", healed: 0, message: null }]);
  detach();
  machine.items.delete("link/default/web");
  machine.places.set("default/db", "fourth");
  await follower.reconcile();
  t.match(await store.listNodeStatus(), [{ state: "InSync", healed: 1, message: "healed 1 difference" }]);
  t.match(told.slice(3), [
    "warn drift found",
    "info workload default/db: new cgroup attached",
    "warn healed 1 difference",
  ]);
  machine.places.set("default/db", "fifth");
  detach();
  const forged = { type: "link", workload: "default/db", label: "program on default/db" } as const;
  machine.items.set("link/default/db", { ...forged, key: "link/default/db", value: "another program" });
  machine.items.set("link/default/db/foreign", { ...forged, key: "link/default/db/foreign", value: "attached" });
  await follower.reconcile();
  t.notOk(machine.items.has("link/default/db/foreign"));
  t.match(
    await store.listNodeStatus(),
    [{ state: "InSync", healed: 3, message: "healed 2 differences" }],
    "no restart",
  );
  // Each has the other's cgroup: both still stand, and nothing was restarted.
  machine.places.set("default/web", "fifth");
  machine.places.set("default/db", "first");
  detach();
  await follower.reconcile();
  t.match(await store.listNodeStatus(), [{ healed: 5, message: "healed 2 differences" }]);
});
