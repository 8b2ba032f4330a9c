import t from "tap";
import type { Test } from "tap";
import { MemoryTable, openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { reconcileOnce, runAgent } from "../../src/reconcile/agent.js";
import { Follower } from "../../src/reconcile/follower.js";
import type { Store } from "../../src/interfaces/store.js";
import { StoreError } from "../../src/interfaces/store.js";
import { objectsOf, TEST_SOURCE, workload } from "../builders/state.js";
import { agentDeps, agentOptions } from "../fakes/agent.js";
import { MemoryLastGood } from "../fakes/last-good.js";
import { FakeEnforcer, FakeMachine } from "../fakes/enforcer.js";
import { recordTelemetry, silentLogger } from "../fakes/ambient.js";
import { FaultyStore, type StoreCall } from "../fakes/store.js";
import { waitUntil } from "../wait.js";

/** An agent on a memory store whose calls fail as `refuse` says. */
function start(t: Test, refuse: (call: StoreCall) => StoreError | null) {
  const { telemetry, calls } = recordTelemetry();
  const messages: string[] = [];
  const keep = (message: string): void => void messages.push(message);
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const logger = { ...silentLogger, info: keep, warn: keep };
  const store = refusing(openMemoryStore(systemClock, new MemoryTable()), refuse);
  const deps = agentDeps(store, { logger, telemetry });
  const running = runAgent(deps, OPTIONS, stop.signal);
  const leads = () => calls.findLast(([name]) => name === "leader")?.[1];
  const end = async () => {
    stop.abort();
    await running;
  };
  return { calls, messages, leads, end };
}

function refusing(inner: Store, refuse: (call: StoreCall) => StoreError | null): FaultyStore {
  const store = new FaultyStore(inner);
  store.refuse = refuse;
  return store;
}

const OPTIONS = agentOptions({ checkInterval: "60s", heartbeatInterval: "10ms", sessionTtl: "200ms" });

t.test("an agent that cannot reach the store any more stops reporting that it leads", async (t) => {
  let isAway = false;
  const away = new StoreError("store-unavailable", "the store is away");
  const { calls, leads, end } = start(t, (call) =>
    isAway && (call === "heartbeat" || call === "campaign") ? away : null,
  );
  await waitUntil(() => leads() === true, { what: "leadership" });
  isAway = true;
  await waitUntil(() => leads() === false, { what: "the end of leadership" });
  t.ok(calls.some(([name]) => name === "storeError"));
  isAway = false;
  await waitUntil(() => leads() === true, { what: "leadership again" });
  await end();
});

t.test("an agent that may not campaign follows, logs it once, and leads as soon as it may", async (t) => {
  let mayLead = true;
  const refused = new StoreError("store-permission", "refused");
  const { calls, messages, leads, end } = start(t, (call) => (call === "campaign" && !mayLead ? refused : null));
  const beats = () => calls.filter(([name]) => name === "leader").length;
  await waitUntil(() => leads() === true, { what: "leadership" });
  mayLead = false;
  await waitUntil(() => leads() === false, { what: "the end of leadership" });
  const before = beats();
  await waitUntil(() => beats() > before + 5, { what: "more beats" });
  t.equal(messages.filter((message) => message.includes("may not lead, and follows")).length, 1);
  t.notOk(messages.some((message) => message.includes("heartbeat failed")));
  mayLead = true;
  await waitUntil(() => leads() === true, { what: "leadership again" });
  await end();
});

t.test("a start without the store enforces the last-good state, and fails if there is none", async (t) => {
  const whole = openMemoryStore(systemClock);
  await whole.commit(
    {
      objects: [...objectsOf(workload("web@n1 10.0.0.1 app=web")).values()],
      source: TEST_SOURCE,
      node: "n1",
      author: "a",
      reason: "test",
      commitId: "c",
      time: "2026-01-01T00:00:00.000Z",
    },
    { expectHead: null, fence: null },
  );
  const state = await whole.readState(1);
  const copy = new MemoryLastGood(state);
  for (const code of ["store-permission", "store-unavailable"] as const) {
    const deps = agentDeps(refusing(openMemoryStore(systemClock), () => new StoreError(code, "refused")));
    const machine = new FakeMachine();
    await reconcileOnce({ ...deps, enforcer: new FakeEnforcer(machine), lastGood: copy }, OPTIONS);
    t.ok(machine.items.has("link/default/web"), code);
    const without = { ...deps, enforcer: new FakeEnforcer(new FakeMachine()) };
    const reason = code === "store-permission" ? code : "not-in-sync";
    await t.rejects(reconcileOnce(without, OPTIONS), { code: reason });
  }
});

t.test(
  "a node that the state does not declare is reported: once in the log, in its status, and as a problem",
  async (t) => {
    const store = openMemoryStore(systemClock);
    const declared = '---\napiVersion: ztap/v1\nkind: Node\nmetadata: { name: n1 }\nspec: { address: "a:1" }\n';
    const objects = [...objectsOf(workload("web@n1 10.0.0.1 app=web") + declared).values()];
    const made = { source: TEST_SOURCE, node: "n1", author: "a", reason: "test", commitId: "c" };
    await store.commit({ objects, ...made, time: "2026-01-01T00:00:00.000Z" }, { expectHead: null, fence: null });
    const warned: string[] = [];
    const logger = { ...silentLogger, warn: (message: string) => void warned.push(message) };
    const follower = new Follower(agentDeps(store, { logger, enforcer: new FakeEnforcer(new FakeMachine()) }), "n2");
    await follower.reconcile();
    await follower.reconcile();
    const message = /^node n2 is not declared, so that nothing is enforced for it; declared are: n1; start .*--node/;
    t.equal(warned.length, 1);
    t.match(warned[0], message);
    t.match(follower.problem, message);
    t.match(await store.listNodeStatus(), [{ node: "n2", state: "Stalled", message, subjects: [] }]);
  },
);
