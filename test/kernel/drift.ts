import type { Enforcer } from "../../src/interfaces/enforcer.js";
import { listDrift } from "../../src/diff/drift.js";
import type { Ruleset } from "../../src/model/ruleset.js";

/** Returns the differences between the kernel and the ruleset, in the words of the status; none if it is in force. */
export async function drift(enforcer: Pick<Enforcer, "observe">, ruleset: Ruleset): Promise<readonly string[]> {
  return listDrift((await enforcer.observe(ruleset)).difference, Infinity).map(({ detail }) => detail);
}
