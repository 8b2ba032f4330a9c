/** Modes: whether a policy enforces or audits a direction: what it says itself, else what its namespace says. Pure. */
import type { NetworkPolicy, PolicyMode } from "../model/objects.js";
import type { Direction } from "../model/ruleset.js";
import { refKey, type ObjectSet } from "../model/state.js";

export function modeOf(policy: NetworkPolicy, direction: Direction, objects: ObjectSet): PolicyMode {
  const { mode } = policy.spec;
  const own = typeof mode === "object" ? mode[direction] : mode;
  if (own !== undefined) return own;
  const found = objects.get(refKey({ kind: "Namespace", namespace: null, name: policy.metadata.namespace }));
  return found?.object.kind === "Namespace" ? (found.object.spec?.mode ?? "enforce") : "enforce";
}
