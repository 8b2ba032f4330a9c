/**
 * Doctor: checks one by one the requirements of pf enforcement on this machine, and shows how to fix each. Changes
 * nothing.
 */
import { readFile } from "node:fs/promises";
import type { Check } from "../../model/doctor.js";
import { ANCHOR_LINE, findAnchorLine } from "./pf-conf.js";
import { findAnchor, isEnabled, readRules } from "./pfctl/output.js";
import { Pfctl } from "./pfctl/pfctl.js";
import { PF_CONF, type SetupOptions } from "./setup.js";

const SETUP = "run `ztap enforcement setup --backend pf`, which shows the change and asks";

export async function checkPf(options: SetupOptions = {}): Promise<readonly Check[]> {
  const pfctl = new Pfctl(options.pfctl);
  const conf = options.conf ?? PF_CONF;
  const checks: Check[] = [];
  const check = async (name: string, fix: string, look: () => Promise<string>): Promise<boolean> => {
    try {
      checks.push({ name, state: "ok", detail: await look(), fix: null });
      return true;
    } catch (error) {
      checks.push({ name, state: "failed", detail: error instanceof Error ? error.message : String(error), fix });
      return false;
    }
  };
  const isReadable = await check("pf", "run as root, on macOS", async () => {
    const { stdout } = await pfctl.run("Reading pf's state", ["-s", "info"]);
    return isEnabled(stdout) ? "enabled" : "not enabled yet; the agent enables it";
  });
  await check("pf.conf", SETUP, async () => checkConf(conf, await readFile(conf, "utf8")));
  checks.push(...(await skipped(conf)));
  if (!isReadable) return checks;
  await check("pf's main ruleset", `${SETUP}; or load the file: pfctl -f ${conf}`, async () => {
    const main = readRules((await pfctl.run("Reading pf's main ruleset", ["-s", "rules"])).stdout);
    const at = findAnchor(main);
    if (at < 0) throw new Error(`pf does not evaluate \`${ANCHOR_LINE}\``);
    const bypass = main.slice(0, at).find((line) => /^pass\b.*\bquick\b/.test(line));
    if (bypass !== undefined) throw new Error(`\`${bypass}\` comes before it, and passes what ztap would block`);
    return `evaluates \`${ANCHOR_LINE}\``;
  });
  return checks;
}

function checkConf(conf: string, text: string): string {
  const { line, bypasses } = findAnchorLine(text);
  if (line === null) throw new Error(`${conf} has no line \`${ANCHOR_LINE}\``);
  const [bypass] = bypasses;
  if (bypass !== undefined)
    throw new Error(`${conf}:${bypass.line}: \`${bypass.text}\` comes first, and passes what ztap would block`);
  return `${conf}:${line}: ${ANCHOR_LINE}`;
}

/** Packets between workloads of one Mac use the loopback device. */
async function skipped(conf: string): Promise<readonly Check[]> {
  const text = await readFile(conf, "utf8").catch(() => "");
  return findAnchorLine(text).skips.map(({ line, text: found }) => ({
    name: "skipped interfaces",
    state: "warning" as const,
    detail: `${conf}:${line}: \`${found}\`: nothing is enforced there`,
    fix: "leave the interface out, or accept that ztap does not enforce on it",
  }));
}
