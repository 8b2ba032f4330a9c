/** Holder: an agent in small. Opens an enforcer, applies the ruleset that stands in its argument, says so, and stays. */
import { EbpfEnforcer } from "../../src/adapters/ebpf/enforcer.js";
import type { Ruleset } from "../../src/model/ruleset.js";
import { quiet } from "./sandbox.js";

const ruleset: Ruleset = JSON.parse(process.argv[2] ?? "null");
const enforcer = new EbpfEnforcer({ node: ruleset.node, logger: quiet });
await enforcer.open();
await enforcer.apply(ruleset);
process.stdout.write("applied\n");
setInterval(() => undefined, 1000);
