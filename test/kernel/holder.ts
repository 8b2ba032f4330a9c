/**
 * Holder: an agent in small. Opens an enforcer, applies the rulesets in its arguments, says so, and stays; with several it goes on applying them in turn.
 */
import { EbpfEnforcer } from "../../src/adapters/ebpf/enforcer.js";
import type { Ruleset } from "../../src/model/ruleset.js";
import { quiet } from "./sandbox.js";

const rulesets = process.argv.slice(2).map((text) => {
  const ruleset: Ruleset = JSON.parse(text);
  return ruleset;
});
const enforcer = new EbpfEnforcer({ node: rulesets[0]?.node ?? "", logger: quiet });
await enforcer.open();
do {
  for (const ruleset of rulesets) await enforcer.apply(ruleset);
  process.stdout.write("applied\n");
} while (rulesets.length > 1);
setInterval(() => undefined, 1000);
