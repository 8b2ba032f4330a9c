/** What a node does not enforce though nothing went wrong: told by the log, the probes, telemetry and the status. */
import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import type { Logger } from "../../src/interfaces/system.js";
import { readClusterStatus } from "../../src/operations/cluster/membership.js";
import { Follower } from "../../src/reconcile/follower.js";
import { renderClusterStatus } from "../../src/views/cluster.js";
import { plainStyle } from "../../src/views/style.js";
import { objectsOf, policy, workload } from "../builders/state.js";
import { recordTelemetry, silentLogger } from "../fakes/ambient.js";
import { ManualClock } from "../fakes/clock.js";
import { FakeEnforcer, FakeMachine } from "../fakes/enforcer.js";
import { draft } from "../fakes/objects.js";

const DENY = policy("deny", "  podSelector: { matchLabels: { app: db } }\n  ingress: []");
const STATE = workload("web@n1 10.0.0.1 app=web") + workload("db@n1 10.0.0.2 app=db") + DENY;
const nodeOf = (name: string): string =>
  `---\napiVersion: ztap/v1\nkind: Node\nmetadata: { name: ${name} }\nspec: { address: "${name}.example.net:9470" }\n`;

async function setUp(text: string, node = "n1") {
  const clock = new ManualClock();
  const store = openMemoryStore(clock);
  const machine = new FakeMachine();
  const { telemetry, calls } = recordTelemetry();
  const warnings: string[] = [];
  const logger: Logger = { ...silentLogger, warn: (message) => void warnings.push(message) };
  const enforcer = new FakeEnforcer(machine);
  const deps = { store, enforcer, lastGood: null, managementAccess: null, clock, logger, telemetry };
  const follower = new Follower(deps, node);
  let commits = 0;
  const commit = async (next: string) => {
    const objects = [...objectsOf(next).values()];
    await store.commit(
      { ...draft([]), node: "n1", commitId: `c${(commits += 1)}`, objects },
      { expectHead: await store.readHead(), fence: null },
    );
  };
  await commit(text);
  await store.joinMember({ id: node, address: "192.0.2.1:9470", joinedAt: new Date(clock.now()).toISOString() });
  await store.heartbeat({ id: node, address: "192.0.2.1:9470", holder: "test" }, 3_600_000);
  const lastOf = (name: string) => calls.findLast(([call]) => call === name)?.[1];
  const shown = async () => {
    const status = await readClusterStatus({ store, clock });
    return { status, text: renderClusterStatus(status, { ...plainStyle, width: 1_000 }) };
  };
  return { clock, machine, warnings, follower, commit, lastOf, shown };
}

t.test("a workload without its cgroup is pending: log, probe, metric and cluster status name it", async (t) => {
  const { machine, warnings, follower, lastOf, shown } = await setUp(STATE);
  machine.absent.add("default/db");
  await follower.reconcile();
  await follower.reconcile();
  t.equal(lastOf("pending"), 1);
  t.match(warnings, [/^workload default\/db is pending, and not enforced: /]);
  t.equal(warnings.length, 1, "once, for as long as it is");
  t.match(follower.details, [/^pending: default\/db: /]);
  t.equal(follower.problem, null, "a service that does not run is no failure of the node");
  const { status, text } = await shown();
  t.match(status.nodes, [{ id: "n1", pending: [{ workload: "default/db" }] }]);
  t.match(text, /n1: 1 workload is pending, and not enforced: default\/db: /);

  machine.absent.clear();
  await follower.reconcile();
  t.equal(lastOf("pending"), 0);
  t.same(follower.details, []);
  t.match((await shown()).status.nodes, [{ pending: [] }]);
  machine.absent.add("default/db");
  await follower.reconcile();
  t.equal(lastOf("pending"), 1);
  t.equal(warnings.length, 1, "a service that stops was told as a move");
});

t.test("an agent whose node nobody declares says so at every level, and its log repeats it", async (t) => {
  const { clock, warnings, follower, commit, lastOf, shown } = await setUp(STATE + nodeOf("n1"), "n7");
  await follower.reconcile();
  await follower.reconcile();
  const reason = /^node n7 is not declared, so that nothing is enforced for it; declared are: n1; /;
  t.match(warnings, [reason]);
  t.equal(warnings.length, 1);
  t.match(follower.problem, reason);
  t.equal(lastOf("undeclared"), true);
  const { status, text } = await shown();
  const own = status.nodes.find(({ id }) => id === "n7");
  t.match(own, { declared: false, message: /node n7 is not declared/ });
  t.match(text, /n7: .*node n7 is not declared/);
  clock.advance(599_000);
  await follower.reconcile();
  t.equal(warnings.length, 1);
  clock.advance(1_000);
  await follower.reconcile();
  t.equal(warnings.length, 2, "every ten minutes");

  await commit(STATE + nodeOf("n1") + nodeOf("n7"));
  await follower.reconcile();
  t.equal(lastOf("undeclared"), false);
  t.equal(follower.problem, null);
});

t.test("a state without Nodes knows those that its workloads name", async (t) => {
  const { warnings, follower, lastOf } = await setUp(STATE, "n7");
  await follower.reconcile();
  t.match(warnings, [/^node n7 is not declared, and no workload is on it, .*; workloads are on: n1; /]);
  t.equal(lastOf("undeclared"), true);
  const own = await setUp(STATE, "n1");
  await own.follower.reconcile();
  t.equal(own.lastOf("undeclared"), false);
  const peers = await setUp(workload("peer 10.0.0.1"), "n7");
  await peers.follower.reconcile();
  t.equal(peers.lastOf("undeclared"), false, "a state that names no node leaves none out");
});

t.test("a workload that cannot be enforced is told to the log, once", async (t) => {
  const bare = "---\napiVersion: ztap/v1\nkind: Workload\nmetadata: { name: bare }\nspec: { node: n1 }\n";
  const { warnings, follower } = await setUp(STATE + bare);
  await follower.reconcile();
  await follower.reconcile();
  t.match(warnings, ["default/bare: it has no cgroup"]);
  t.equal(warnings.length, 1);
});
