/**
 * Workloads that may have several instances at once. Two instances are two ends: what one of them sends to the other is
 * decided by policy, unlike what a workload sends to itself.
 */
import type { ProcessPattern, Workload } from "../model/objects.js";
import { qualifiedName, type ObjectSet } from "../model/state.js";
import { hasWildcard } from "./glob.js";
import { HOSTNAME_LABEL, mayRunOn, NodeDescriptions } from "./nodes.js";
import { isDiscovered, patternOf } from "./process.js";
import { mayHold } from "./unplaced.js";

const known = new WeakMap<ObjectSet, ReadonlySet<string>>();

/** Returns their names, `namespace/name`. A state is immutable, so that this is computed once. */
export function listSeveral(objects: ObjectSet): ReadonlySet<string> {
  const found = known.get(objects) ?? findSeveral(objects);
  known.set(objects, found);
  return found;
}

function findSeveral(objects: ObjectSet): ReadonlySet<string> {
  const nodes = new NodeDescriptions(objects);
  const bySelector = new Map<string, boolean>();
  const names = [...objects.values()].flatMap(({ object }) => {
    if (object.kind !== "Workload" || !isDiscovered(object)) return [];
    const key = JSON.stringify([object.spec.node, object.spec.nodeSelector]);
    const isOnSeveral = bySelector.get(key) ?? runsOnSeveral(object, nodes);
    bySelector.set(key, isOnSeveral);
    return isOnSeveral || matchesSeveral(patternOf(object)) ? [qualifiedName(object.metadata)] : [];
  });
  return new Set(names);
}

/** On one node. */
function matchesSeveral(pattern: ProcessPattern | null): boolean {
  if (pattern === null || "host" in pattern) return false;
  if ("container" in pattern) return true;
  return hasWildcard("cgroup" in pattern ? pattern.cgroup : pattern.systemdUnit);
}

function runsOnSeveral(workload: Workload, nodes: NodeDescriptions): boolean {
  const { node, nodeSelector = {} } = workload.spec;
  if (node !== undefined || nodes.isEmpty || nodeSelector.matchLabels?.[HOSTNAME_LABEL] !== undefined) return false;
  const declared = nodes.declared.filter((one) => mayRunOn(workload, one)).map(({ name }) => name);
  const grouped = nodes.groups
    .filter(({ metadata }) => mayHold(nodeSelector, metadata.labels ?? {}))
    .flatMap(({ spec }) => spec.nodeNames);
  const found = new Set([...declared, ...grouped]);
  return found.size > 1 || grouped.some(hasWildcard);
}
