/**
 * Setup: the explicit change of pf.conf, and its reversal. The previous file is kept beside it; pfctl checks the new
 * one before it replaces the old one and is loaded.
 */
import { copyFile, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import type { SetupPlan, SetupResult } from "../../model/inspection.js";
import { EnforcerError } from "../../interfaces/enforcer.js";
import { addAnchorLine, ANCHOR_LINE, removeAnchorLine } from "./pf-conf.js";
import { Pfctl } from "./pfctl/pfctl.js";

export const PF_CONF = "/etc/pf.conf";

export interface SetupOptions {
  /** Default: /etc/pf.conf. */
  readonly conf?: string;
  readonly pfctl?: string;
}

/**
 * Plans the change; changes nothing.
 * @throws EnforcerError if the file cannot be read
 */
export async function planSetup(undo: boolean, { conf = PF_CONF }: SetupOptions = {}): Promise<SetupPlan> {
  let before: string;
  try {
    before = await readFile(conf, "utf8");
  } catch (cause) {
    throw new EnforcerError("unsupported", `${conf} cannot be read; it is where macOS keeps pf's main ruleset`, {
      cause,
    });
  }
  return { conf, line: ANCHOR_LINE, before, after: undo ? removeAnchorLine(before) : addAnchorLine(before) };
}

/**
 * Applies the change.
 * @throws EnforcerError `busy` if the file changed since the plan, `kernel` if pfctl refuses it
 */
export async function applySetup(plan: SetupPlan, options: SetupOptions = {}): Promise<SetupResult> {
  const { conf, before, after } = plan;
  if (before === after) return { conf, changed: false, backup: null };
  const pfctl = new Pfctl(options.pfctl);
  const next = `${conf}.ztap-new`;
  const backup = `${conf}.ztap-backup`;
  const { mode } = await stat(conf);
  try {
    await writeFile(next, after, { mode: mode & 0o777 });
    await pfctl.run(`Checking the new ${conf}`, ["-n", "-f", next]);
    if ((await readFile(conf, "utf8")) !== before)
      throw new EnforcerError("busy", `${conf} was changed meanwhile; nothing was done: review it, and run this again`);
    await copyFile(conf, backup);
    await rename(next, conf);
  } finally {
    await rm(next, { force: true });
  }
  try {
    await pfctl.run(`Loading ${conf}`, ["-f", conf]);
  } catch (error) {
    await copyFile(backup, conf);
    throw error;
  }
  return { conf, changed: true, backup };
}
