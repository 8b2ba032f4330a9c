/** Wiring of the log: its format by the settings and the terminal. */
import type { Settings } from "../settings/settings.js";

export function logsText({ logFormat }: Settings): boolean {
  return logFormat === "auto" ? process.stderr.isTTY : logFormat === "text";
}
