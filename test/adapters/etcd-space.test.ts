/** An etcd whose database is full: every report shows the alarm and the way out, and what is enforced stays. */
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import t from "tap";
import type { Test } from "tap";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { Logger } from "../../src/interfaces/system.js";
import type { NodeStatus, StoreHealth } from "../../src/model/status.js";
import { readClusterStatus } from "../../src/operations/cluster/membership.js";
import { runAgent } from "../../src/reconcile/agent.js";
import { StoreHealthWatch } from "../../src/reconcile/store-health.js";
import { renderClusterStatus } from "../../src/views/cluster.js";
import { plainStyle } from "../../src/views/style.js";
import { objectsOf, policy, workload } from "../builders/state.js";
import { commitOnHead } from "../contract/store-commits.js";
import { runFromPage } from "../etcd/page.js";
import { withEtcd, whyNoEtcd, type EtcdCluster } from "../etcd/server.js";
import { openStore, QUICK } from "../etcd/stores.js";
import { agentDeps, agentOptions } from "../fakes/agent.js";
import { recordTelemetry, silentLogger } from "../fakes/ambient.js";
import { FakeEnforcer, FakeMachine } from "../fakes/enforcer.js";
import { draft } from "../fakes/objects.js";
import { HANG_MS, waitUntil } from "../wait.js";

const QUOTA = 16 * 1024 * 1024;
const STATE = workload("db@n1 10.0.0.2 app=db") + policy("deny", "  podSelector: {}\n  ingress: []");
const FILLER: NodeStatus = {
  ...{ node: "n2", backend: "none", attemptedRevision: null, enforcedRevision: null, rulesetDigest: null },
  ...{ message: null, drift: [], healed: 0, subjects: [], observedAt: "2026-01-01T00:00:00.000Z" },
  state: "Stalled",
};
const WAY_OUT = /accepts no more data.*compact.*defragment.*disarm/;

async function fullDatabase(t: Test, { endpoints: [endpoint = ""] }: EtcdCluster): Promise<void> {
  const store = openStore(t, [endpoint]);
  const machine = new FakeMachine();
  const warnings: string[] = [];
  const logger: Logger = { ...silentLogger, warn: (message) => void warnings.push(message) };
  const stop = new AbortController();
  await commitOnHead(store, { ...draft([]), objects: [...objectsOf(STATE).values()] });
  const running = runAgent(
    agentDeps(openStore(t, [endpoint]), { enforcer: new FakeEnforcer(machine), logger }),
    agentOptions({ node: "n1", checkInterval: "100ms", heartbeatInterval: "100ms" }),
    stop.signal,
  );
  t.teardown(async () => {
    stop.abort();
    await running;
  });
  const isEnforced = (): boolean => machine.items.get("subject/default/db")?.value.includes("ingress") === true;
  await waitUntil(isEnforced, { what: "the first revision" });
  const { telemetry, calls } = recordTelemetry();
  const lines: string[] = [];
  const note = (message: string): void => void lines.push(message);
  const watch = new StoreHealthWatch({ store, telemetry, logger: { ...silentLogger, warn: note, info: note } });

  await t.test("sizes and quota of every member are reported", async (t) => {
    t.match(await store.readHealth(), [{ endpoint, quotaBytes: QUOTA, alarms: [], problem: null }]);
    const [health, other] = await openStore(t, [endpoint, "127.0.0.1:1"]).readHealth({ everyServer: true });
    const { databaseBytes, usedBytes } = health ?? {};
    t.ok(Number(usedBytes) > 0 && Number(databaseBytes) >= Number(usedBytes));
    t.match(other, { endpoint: "127.0.0.1:1", databaseBytes: null, quotaBytes: null, problem: /cannot be reached/ });
    await watch.run();
    t.same(lines, []);
    t.match(calls, [["storeHealth", [{ endpoint, quotaBytes: QUOTA }]]]);
  });

  await t.test("the alarm is in the agent's log, in the metrics and in cluster status", async (t) => {
    const fill = async (): Promise<void> => {
      for (;;) await store.writeNodeStatus({ ...FILLER, agentCgroup: randomBytes(500_000).toString("base64") });
    };
    await t.rejects(fill(), { message: WAY_OUT });
    const renewal = (): boolean => warnings.some((line) => line.startsWith("heartbeat failed") && WAY_OUT.test(line));
    await waitUntil(renewal, { what: "a renewal that is refused" });
    await watch.run();
    await watch.run();
    t.equal(lines.length, 1, "once");
    t.match(lines, [/alarm NOSPACE.*compact etcd, defragment its members and disarm the alarm/]);
    const [, [health]] = calls.at(-1) as [string, StoreHealth[]];
    t.match(health, { alarms: ["NOSPACE"] });
    const status = await readClusterStatus({ store, clock: systemClock });
    t.match(status, { servers: [{ endpoint, alarms: ["NOSPACE"] }] });
    const text = renderClusterStatus(status, plainStyle);
    t.match(text, /: database \d+ % of 16 MiB, NOSPACE\n/);
    t.match(text, WAY_OUT);
  });

  await t.test("what is enforced stays, and is healed", async (t) => {
    machine.items.clear();
    await waitUntil(isEnforced, { what: "the last good ruleset" });
    await waitUntil(() => warnings.some((line) => /status could not be written/.test(line) && WAY_OUT.test(line)), {
      what: "a status that is refused",
    });
    t.equal(await store.readHead(), 1);
  });

  await t.test("after the commands of the page all goes on", async (t) => {
    runFromPage("reclaim", { ETCDCTL_ENDPOINTS: endpoint }, tmpdir());
    await watch.run();
    t.match(lines.at(-1), "the store has room again");
    t.match(await store.readHealth(), [{ alarms: [] }]);
    await waitUntil(async () => (await store.readLeader()) === "n1", { what: "the agent's return" });
    const healed = async (): Promise<boolean> => (await store.listNodeStatus()).some(({ healed: count }) => count > 0);
    await waitUntil(healed, { what: "its status" });
  });
}

const settings = { skip: whyNoEtcd() ?? false, timeout: HANG_MS };
await t.test("a full database", settings, (t) =>
  withEtcd({ flags: [...QUICK, `--quota-backend-bytes=${QUOTA}`] }, (etcd) => fullDatabase(t, etcd)),
);
