/** Wiring of the log: its format by the settings and the terminal. */
import type { Logger } from "../interfaces/system.js";
import type { Settings } from "../settings/settings.js";

export function logsText({ logFormat }: Settings): boolean {
  return logFormat === "auto" ? process.stderr.isTTY : logFormat === "text";
}

/** Opens the log of a command that serves others. */
export async function openLogger(settings: Settings): Promise<Logger> {
  const { createLogger } = await import("../adapters/system/logger.js");
  return createLogger(settings.logLevel, logsText(settings));
}
