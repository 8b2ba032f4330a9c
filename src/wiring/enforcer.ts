/** Wiring of enforcement: opens the backend of this machine, to enforce or to read. */
import { readdir } from "node:fs/promises";
import { OperationError } from "../model/operation-error.js";
import type { Settings } from "../settings/settings.js";
import type { Enforcer } from "../interfaces/enforcer.js";
import type { Logger } from "../interfaces/system.js";
import type { LastGood } from "../interfaces/last-good.js";
import { logsText } from "./log.js";

/**
 * Returns the machine's backend: eBPF on Linux, pf on macOS; null if it has neither, without a replacement.
 * @throws OperationError `unsupported` if the named backend is not that of this machine
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

/**
 * Opens the machine's own backend; `none` only if it is named explicitly.
 * @throws OperationError `unsupported`
 */
export async function openEnforcer(settings: Settings, logger: Logger): Promise<Enforcer> {
  if (settings.backend === "none") {
    const { NoneEnforcer } = await import("../adapters/none/enforcer.js");
    return new NoneEnforcer();
  }
  switch (chooseBackend(settings)) {
    case "ebpf": {
      const { EbpfEnforcer } = await import("../adapters/ebpf/enforcer.js");
      const { findSessions } = await import("../adapters/system/ssh-processes.js");
      return new EbpfEnforcer({ node: settings.node, pinRoot: settings.pinRoot, logger, findSessions });
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
 * Returns an enforcer that reads this machine's kernel for a node that is enforced here; null if it is not, or without
 * root. It is not opened yet. It only reads: a missing pin is reported as drift, and not created.
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
  // Its agent reported from this boot, or its pins are here: missing pins are a result, too.
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

/** Returns the reader of pf if the anchor belongs to that node. */
async function openLocalPf(settings: Settings, node: string): Promise<Enforcer | null> {
  const { ReferenceFile } = await import("../adapters/pf/reference.js");
  const { PfEnforcer } = await import("../adapters/pf/enforcer.js");
  const { createLogger } = await import("../adapters/system/logger.js");
  const { stateDir } = settings;
  if ((await new ReferenceFile(stateDir).read())?.node !== node) return null;
  return new PfEnforcer({ node, stateDir, logger: createLogger("error", logsText(settings)), readOnly: true });
}

/** Reads the states of which this machine enforces only a part for a node, or was about to. */
export async function readPartial(settings: Settings, node: string): Promise<readonly LastGood[]> {
  const { createLogger } = await import("../adapters/system/logger.js");
  const { LastGoodFile, lastGoodPath } = await import("../adapters/disk/last-good.js");
  const file = new LastGoodFile(lastGoodPath(settings.stateDir, node), createLogger("error", logsText(settings)));
  const states = await Promise.all([file.read(), file.readAnnounced()]);
  return states.flatMap((state) => (state?.withholding === undefined ? [] : [state]));
}
