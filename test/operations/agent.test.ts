import t from "tap";
import type { Test } from "tap";
import { MemoryTable, openMemoryStore } from "../../src/adapters/memory/store.js";
import { NoneEnforcer } from "../../src/adapters/none/enforcer.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { readManifests } from "../../src/manifest/read.js";
import { runAgent } from "../../src/operations/agent.js";
import type { Store } from "../../src/ports/store.js";
import { StoreError } from "../../src/ports/store.js";
import { until } from "../cli/ztap.js";
import { recordTelemetry, seededRandom, silentLogger } from "../fakes/ambient.js";

/** An agent on a memory store whose calls fail as `refuse` says. */
function start(t: Test, refuse: (call: string) => StoreError | null) {
  const real = openMemoryStore(systemClock, new MemoryTable());
  const store: Store = new Proxy(real, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== "function") return value;
      return async (...args: unknown[]): Promise<unknown> => {
        const error = refuse(String(key));
        if (error !== null) throw error;
        return value.apply(target, args);
      };
    },
  });
  const { telemetry, calls } = recordTelemetry();
  const messages: string[] = [];
  const keep = (message: string): void => void messages.push(message);
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const running = runAgent(
    {
      store,
      source: null,
      enforcer: new NoneEnforcer(),
      copy: null,
      lifelines: null,
      read: readManifests,
      clock: systemClock,
      random: seededRandom(5),
      logger: { ...silentLogger, info: keep, warn: keep },
      telemetry,
      isHolderAlive: () => true,
      serve: () => null,
    },
    {
      node: "n1",
      address: "n1:1",
      holder: "h1",
      boot: null,
      ref: null,
      path: null,
      sourceIntervalMs: 60_000,
      selfHeal: true,
      checkIntervalMs: 60_000,
      heartbeatIntervalMs: 10,
      electionTimeoutMs: 5000,
      sessionTtlMs: 200,
      keepRevisions: 1000,
      keepForMs: 60_000,
    },
    stop.signal,
  );
  const leads = () => calls.findLast(([name]) => name === "leader")?.[1];
  const end = async () => {
    stop.abort();
    await running;
  };
  return { calls, messages, leads, end };
}

t.test("an agent that cannot reach the store any more stops saying that it leads", async (t) => {
  let isAway = false;
  const away = new StoreError("store-unavailable", "the store is away");
  const { calls, leads, end } = start(t, (call) =>
    isAway && (call === "heartbeat" || call === "campaign") ? away : null,
  );
  await until(() => leads() === true, "leadership");
  isAway = true;
  await until(() => leads() === false, "the end of leadership");
  t.ok(calls.some(([name]) => name === "storeError"));
  isAway = false;
  await until(() => leads() === true, "leadership again");
  await end();
});

t.test("an agent that may not campaign follows, says so once, and leads as soon as it may", async (t) => {
  let mayLead = true;
  const refused = new StoreError("store-permission", "refused");
  const { calls, messages, leads, end } = start(t, (call) => (call === "campaign" && !mayLead ? refused : null));
  const beats = () => calls.filter(([name]) => name === "leader").length;
  await until(() => leads() === true, "leadership");
  mayLead = false;
  await until(() => leads() === false, "the end of leadership");
  const before = beats();
  await until(() => beats() > before + 5, "more beats");
  t.equal(messages.filter((message) => message.includes("may not lead, and follows")).length, 1);
  t.notOk(messages.some((message) => message.includes("heartbeat failed")));
  mayLead = true;
  await until(() => leads() === true, "leadership again");
  await end();
});
