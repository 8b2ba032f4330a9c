/** An agent that enforces nothing and polls nothing, for tests of its loops. */
import { NoneEnforcer } from "../../src/adapters/none/enforcer.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { readManifests } from "../../src/manifest/read.js";
import type { AgentDeps, AgentOptions } from "../../src/reconcile/agent.js";
import type { Store } from "../../src/interfaces/store.js";
import { recordTelemetry, seededRandom, silentLogger } from "./ambient.js";

export function agentDeps(store: Store, changes: Partial<AgentDeps> = {}): AgentDeps {
  return {
    store,
    source: null,
    enforcer: new NoneEnforcer(),
    lastGood: null,
    managementAccess: null,
    read: readManifests,
    clock: systemClock,
    random: seededRandom(5),
    logger: silentLogger,
    telemetry: recordTelemetry().telemetry,
    isProcessAlive: () => true,
    serve: () => null,
    serveFlows: async () => ({ close: async () => undefined }),
    ...changes,
  };
}

/** The settings' defaults. */
export function agentOptions(changes: Partial<AgentOptions> = {}): AgentOptions {
  return {
    node: "n1",
    address: "n1:1",
    holder: "h1",
    boot: null,
    ref: null,
    path: null,
    sourceIntervalMs: 60_000,
    selfHeal: true,
    maxDeletePercent: 50,
    checkIntervalMs: 10_000,
    heartbeatIntervalMs: 1000,
    electionTimeoutMs: 5000,
    sessionTtlMs: 60_000,
    keepRevisions: 1000,
    keepForMs: 480 * 3_600_000,
    ...changes,
  };
}
