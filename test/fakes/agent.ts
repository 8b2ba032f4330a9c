/** An agent that enforces nothing and polls nothing, for tests of its loops. */
import { NoneEnforcer } from "../../src/adapters/none/enforcer.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import { readManifests } from "../../src/manifest/read.js";
import type { AgentDeps, AgentOptions } from "../../src/reconcile/agent.js";
import { resolveSettings, type SettingKey } from "../../src/settings/settings.js";
import type { Store } from "../../src/interfaces/store.js";
import { FakeDiscovery } from "./discovery.js";
import { recordTelemetry, seededRandom, silentLogger } from "./ambient.js";

export function agentDeps(store: Store, changes: Partial<AgentDeps> = {}): AgentDeps {
  return {
    store,
    certificates: null,
    source: null,
    enforcer: new NoneEnforcer(),
    lastGood: null,
    discovery: new FakeDiscovery(),
    openNodeKey: () => {
      throw new TypeError("this agent has no key pair");
    },
    managementAccess: null,
    read: readManifests,
    clock: systemClock,
    random: seededRandom(5),
    logger: silentLogger,
    telemetry: recordTelemetry().telemetry,
    isProcessAlive: () => true,
    targets: [],
    servePollHook: async () => null,
    serve: () => null,
    serveFlows: async () => ({ close: async () => undefined }),
    ...changes,
  };
}

const MACHINE = { isRoot: true, hostname: "n1", home: "/", xdgStateHome: undefined, xdgConfigHome: undefined };

/** The settings' defaults, but for what is given. */
export function agentOptions(
  values: Readonly<Partial<Record<SettingKey, string>>> = {},
  { holder = "h1" } = {},
): AgentOptions {
  const given = Object.entries({ address: "n1:1", ...values });
  const layer = Object.fromEntries(given.map(([key, text]) => [key, { text, origin: "test" }]));
  return { ...resolveSettings([layer], MACHINE), holder, boot: null };
}
