/**
 * Wiring of the agent: all of its adapters. Adapters are imported at their first use, so that a command loads only
 * those that it needs.
 */
import { makeFolder } from "../adapters/system/folder.js";
import { systemClock, systemRandom } from "../adapters/system/clock.js";
import type { AgentDeps, AgentOptions } from "../reconcile/agent.js";
import type { Settings } from "../settings/settings.js";
import { withAgentStore } from "./store.js";
import { logsText } from "./log.js";
import { openEnforcer } from "./enforcer.js";
import { openPolledSource } from "./source.js";
import { openManagementAccess, openReachability } from "./host.js";
import { openDiscovery } from "./discovery.js";
import { openPollHook, openTargets } from "./notify.js";

/**
 * Opens the agent's adapters.
 * @param signal ends a transfer that an unresponsive remote would delay
 */
export async function withAgentDeps(
  settings: Settings,
  signal: AbortSignal,
  use: (deps: AgentDeps, options: AgentOptions) => Promise<void>,
): Promise<void> {
  const { createLogger } = await import("../adapters/system/logger.js");
  const { createTelemetry } = await import("../adapters/prometheus/telemetry.js");
  const { serveHttp } = await import("../adapters/prometheus/server.js");
  const {
    bootId,
    processIdentity: describeSelf,
    isProcessAlive,
  } = await import("../adapters/system/process-identity.js");
  const { readManifestsApart } = await import("./manifest-process.js");
  const logger = createLogger(settings.logLevel, logsText(settings));
  const { telemetry, registry } = createTelemetry();
  const { LastGoodFile, lastGoodPath } = await import("../adapters/disk/last-good.js");
  const { nodeKeyPath, openNodeKey } = await import("../adapters/disk/node-key.js");
  const enforcer = await openEnforcer(settings, logger);
  if (settings.source.url !== null) makeFolder(settings.stateDir, 0o700);
  await withAgentStore(settings, async (store, certificates) =>
    use(
      {
        store,
        certificates,
        source: await openPolledSource(settings, signal),
        enforcer,
        discovery: await openDiscovery(settings, logger),
        lastGood: new LastGoodFile(lastGoodPath(settings.stateDir, settings.node), logger),
        openNodeKey: () => openNodeKey(nodeKeyPath(settings.stateDir, settings.node)),
        managementAccess: openManagementAccess(settings),
        reachability: openReachability(settings),
        read: (files) => readManifestsApart(files, { signal }),
        clock: systemClock,
        random: systemRandom,
        logger,
        telemetry,
        isProcessAlive: isProcessAlive,
        serveFlows: async (feed) => {
          const { serveFlows } = await import("../adapters/flows/server.js");
          return serveFlows(settings.stateDir, settings.node, feed, logger);
        },
        targets: await openTargets(settings),
        servePollHook: (asked) => openPollHook(settings, { logger, telemetry }, asked),
        serve: (probes) => (settings.listen === null ? null : serveHttp(settings.listen, registry, probes)),
      },
      { ...settings, holder: describeSelf(), boot: bootId() },
    ),
  );
}
