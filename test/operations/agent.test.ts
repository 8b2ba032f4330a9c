import t from "tap";
import { MemoryTable, openMemoryStore } from "../../src/adapters/memory/store.js";
import { NoneEnforcer } from "../../src/adapters/none/enforcer.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { readManifests } from "../../src/manifest/read.js";
import { runAgent } from "../../src/operations/agent.js";
import type { Store } from "../../src/ports/store.js";
import { StoreError } from "../../src/ports/store.js";
import { until } from "../cli/ztap.js";
import { recordTelemetry, seededRandom, silentLogger } from "../fakes/ambient.js";

t.test("an agent that cannot reach the store any more stops saying that it leads", async (t) => {
  const real = openMemoryStore(systemClock, new MemoryTable());
  let isAway = false;
  const store: Store = new Proxy(real, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]): unknown => {
        if (isAway && (key === "heartbeat" || key === "campaign"))
          throw new StoreError("store-unavailable", "the store is away");
        return value.apply(target, args);
      };
    },
  });
  const { telemetry, calls } = recordTelemetry();
  const said = () => calls.findLast(([name]) => name === "leader")?.[1];
  const stop = new AbortController();
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
      logger: silentLogger,
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
  t.teardown(() => stop.abort());
  await until(() => said() === true, "leadership");
  isAway = true;
  await until(() => said() === false, "the end of leadership");
  t.ok(calls.some(([name]) => name === "storeError"));
  isAway = false;
  await until(() => said() === true, "leadership again");
  stop.abort();
  await running;
});
