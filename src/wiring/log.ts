/** Wiring of the log: the format that the settings and the terminal ask for. */
import type { Settings } from "../settings/settings.js";

export function logsText({ logFormat }: Settings): boolean {
  return logFormat === "auto" ? process.stderr.isTTY : logFormat === "text";
}
