/** Wiring of enforcement: the backend that this machine has, opened to enforce or to look. */
import { readdir } from "node:fs/promises";
import { OperationError } from "../model/operation-error.js";
import type { Settings } from "../settings/settings.js";
import type { Enforcer } from "../interfaces/enforcer.js";
import type { Logger } from "../interfaces/system.js";
import { logsText } from "./log.js";

/**
 * What the machine has: eBPF on Linux, pf on macOS. Null where it has neither, and nothing is taken in its place.
 * @throws OperationError `unsupported` where one is named that the machine does not have
 */
function chooseBackend({ backend }: Settings): "ebpf" | "pf" | null {
  const { platform } = process;
  const own = platform === "linux" ? "ebpf" : platform === "darwin" ? "pf" : null;
  if (backend === "auto" || backend === "none") return own;
  if (backend === own) return own;
  const wants = backend === "pf" ? "pf is what macOS enforces with" : "eBPF is what Linux enforces with";
  throw new OperationError(
    "unsupported",
    `--backend ${backend} cannot enforce here: ${wants}, and this is ${platform}; ` +
      `\`ztap enforcement render --backend ${backend}\` shows what it would load, on any machine`,
  );
}

/** The machine's own backend; `none` only where it was asked for by name. @throws OperationError `unsupported` */
export async function openEnforcer(settings: Settings, logger: Logger): Promise<Enforcer> {
  if (settings.backend === "none") {
    const { NoneEnforcer } = await import("../adapters/none/enforcer.js");
    return new NoneEnforcer();
  }
  switch (chooseBackend(settings)) {
    case "ebpf": {
      const { EbpfEnforcer } = await import("../adapters/ebpf/enforcer.js");
      return new EbpfEnforcer({ node: settings.node, pinRoot: settings.pinRoot, logger });
    }
    case "pf": {
      const { PfEnforcer } = await import("../adapters/pf/enforcer.js");
      return new PfEnforcer({ node: settings.node, stateDir: settings.stateDir, logger });
    }
    case null:
      throw new OperationError(
        "unsupported",
        `there is no enforcement backend for ${process.platform}; --backend none reports without enforcing`,
      );
  }
}

/**
 * For reading this machine's kernel for a node that is enforced here; null where it is not, or without
 * root. Not opened yet. It only looks: a pin that is missing is reported as drift, and not made.
 */
export async function openLocalEnforcer(
  settings: Settings,
  node: string,
  boot: string | null,
): Promise<Enforcer | null> {
  if (process.geteuid?.() !== 0) return null;
  if (process.platform === "darwin") return openLocalPf(settings, node);
  if (process.platform !== "linux") return null;
  const { nodeFolders } = await import("../adapters/ebpf/kernel/paths.js");
  const { bootId } = await import("../adapters/system/process-identity.js");
  // Its agent reported from this very boot, or its pins are here: pins that are gone are what is to be seen.
  const isOurs = boot !== null && boot === bootId();
  const hasPins = await readdir(nodeFolders(settings.pinRoot, node).node).then(
    () => true,
    () => false,
  );
  if (!isOurs && !hasPins) return null;
  const { EbpfEnforcer } = await import("../adapters/ebpf/enforcer.js");
  const { createLogger } = await import("../adapters/system/logger.js");
  return new EbpfEnforcer({
    node,
    pinRoot: settings.pinRoot,
    logger: createLogger("error", logsText(settings)),
    readOnly: true,
  });
}

/** Where its anchor is that node's. */
async function openLocalPf(settings: Settings, node: string): Promise<Enforcer | null> {
  const { ReferenceFile } = await import("../adapters/pf/reference.js");
  const { PfEnforcer } = await import("../adapters/pf/enforcer.js");
  const { createLogger } = await import("../adapters/system/logger.js");
  const { stateDir } = settings;
  if ((await new ReferenceFile(stateDir).read())?.node !== node) return null;
  return new PfEnforcer({ node, stateDir, logger: createLogger("error", logsText(settings)), readOnly: true });
}
