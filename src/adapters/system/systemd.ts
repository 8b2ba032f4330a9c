/** The units of the system's own systemd: whether they are there, and how they are enabled. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import type { UnitsEnabled } from "../../interfaces/system.js";

/** A folder that only a running systemd makes (sd_booted(3)). */
const BOOTED = "/run/systemd/system";
const TIMEOUT_MS = 90_000;

/** Enables the unit of the boot, and enables and starts the agent's; restarts an agent that runs if `restart`. */
export function enableUnits({ restart }: { readonly restart: boolean }): UnitsEnabled {
  if (!existsSync(BOOTED)) return { outcome: "no-systemd", detail: "systemd does not run here" };
  const missing = ["ztap-boot.service", "ztap.service"].filter((unit) => systemctl("cat", unit) !== null);
  if (missing.length > 0) return { outcome: "no-units", detail: `systemd knows no ${missing.join(" and no ")}` };
  const steps = [
    ["enable", "ztap-boot.service"],
    ["enable", "ztap.service"],
    [restart ? "restart" : "start", "ztap.service"],
  ];
  for (const step of steps) {
    const problem = systemctl(...step);
    if (problem !== null) return { outcome: "failed", detail: `systemctl ${step.join(" ")}: ${problem}` };
  }
  return { outcome: "enabled", detail: "ztap-boot.service and ztap.service are enabled, and the agent runs" };
}

/** Returns what systemctl said if it failed; null if it did not. */
function systemctl(...args: readonly string[]): string | null {
  const { status, stderr, error } = spawnSync("systemctl", args, { encoding: "utf8", timeout: TIMEOUT_MS });
  if (status === 0) return null;
  return error?.message ?? stderr.trim();
}
