/**
 * Inspect and remove: reads ztap's rules in this machine's pf, and removes all of them. Needs no agent and no ruleset.
 */
import type { InspectedPf, Removed } from "../../model/inspection.js";
import { EndingFile } from "./pfctl/ending.js";
import { takeLock } from "./pfctl/lock.js";
import { ANCHOR } from "./render/names.js";
import { findAnchor, readLabels, readRules, readTableNames } from "./pfctl/output.js";
import { Pfctl } from "./pfctl/pfctl.js";
import { readReference, ReferenceFile, releaseReference } from "./reference.js";

export interface InspectPfOptions {
  readonly stateDir: string;
  readonly pfctl?: string;
}

export async function inspectPf({ stateDir, pfctl: program }: InspectPfOptions): Promise<InspectedPf> {
  const pfctl = new Pfctl(program);
  const { isEnabled, isHeld, reference } = await readReference(pfctl, new ReferenceFile(stateDir));
  const main = readRules((await pfctl.run("Reading pf's main ruleset", ["-s", "rules"])).stdout);
  const rules = readRules(await pfctl.readAnchor("Reading pf's rules", ["-s", "rules"]));
  const tables = readTableNames(await pfctl.readAnchor("Listing pf's tables", ["-s", "Tables"]));
  const labels = readLabels(await pfctl.readAnchor("Reading pf's counters", ["-s", "labels"]));
  return {
    anchor: ANCHOR,
    node: reference?.node ?? null,
    enabled: isEnabled,
    reference: isHeld,
    linked: findAnchor(main) >= 0,
    rules,
    tables,
    packets: [...labels].map(([label, packets]) => ({ label, packets: String(packets) })),
  };
}

/**
 * Empties the anchor and releases pf's reference; the line in pf.conf stays, and refers to an empty anchor.
 * @param node only this node's; null: of any node
 */
export async function removePf(
  { stateDir, pfctl: program }: InspectPfOptions,
  node: string | null,
): Promise<readonly Removed[]> {
  const lock = await takeLock(stateDir);
  try {
    return await takeAway(new Pfctl(program), new ReferenceFile(stateDir), node);
  } finally {
    await lock.release();
  }
}

/** Returns the enforcement that `removePf` would remove; changes nothing. */
export async function listRemovablePf({ stateDir, pfctl: program }: InspectPfOptions): Promise<readonly Removed[]> {
  const reference = await new ReferenceFile(stateDir).read();
  const rules = readRules(await new Pfctl(program).readAnchor("Reading pf's rules", ["-s", "rules"]));
  if (rules.length === 0 && reference === null) return [];
  return [{ node: reference?.node ?? "unknown", workloads: workloadsOf(rules) }];
}

async function takeAway(pfctl: Pfctl, file: ReferenceFile, node: string | null): Promise<readonly Removed[]> {
  const reference = await file.read();
  if (node !== null && reference !== null && reference.node !== node) return [];
  const rules = readRules(await pfctl.readAnchor("Reading pf's rules", ["-s", "rules"]));
  if (rules.length === 0 && reference === null) return [];
  await pfctl.inAnchor("Emptying the anchor", ["-F", "all"]);
  await releaseReference(pfctl, file);
  await new EndingFile(file.folder).remove();
  return [{ node: reference?.node ?? node ?? "unknown", workloads: workloadsOf(rules) }];
}

/** Returns the workloads as far as labels name them: labels have no room for long names. */
function workloadsOf(rules: readonly string[]): readonly string[] {
  const names = rules.flatMap((rule) => {
    const [, name] = /label "ztap:[dac]:[0-9a-f]+:(?:(?:in|e)gress_)?([^"_]+)(?:_[^"]*)?"/.exec(rule) ?? [];
    return name === undefined ? [] : [name];
  });
  return [...new Set(names)].sort();
}
