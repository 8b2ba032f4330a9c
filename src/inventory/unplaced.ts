/**
 * Unplaced workloads: those whose addresses Git does not say. Where they may appear, and what is proven for every place.
 */
import type { Labels, LabelSelector, Workload } from "../model/objects.js";
import type { ObjectSet } from "../model/state.js";
import { matchesSelector } from "../policy/compile/select.js";
import { AddressParser, compareIntervals, EVERYWHERE, type Interval } from "../policy/address-space.js";
import { mayRunOn, NodeDescriptions } from "./nodes.js";
import { isDiscovered } from "./process.js";

/** Returns whether the addresses of a workload are known only where it runs. */
export function isUnplaced(workload: Pick<Workload, "spec">): boolean {
  return isDiscovered(workload) && workload.spec.addresses.length === 0;
}

const known = new WeakMap<ObjectSet, ReadonlyMap<string, readonly Interval[]>>();

/**
 * Returns the addresses that instances of each unplaced workload may have, by `namespace/name`: disjoint, ascending. They
 * are the ranges of all nodes on which it may run; everywhere if no range is declared. A state is immutable, so that this
 * is computed once.
 */
export function rangesOfUnplaced(objects: ObjectSet): ReadonlyMap<string, readonly Interval[]> {
  const found = known.get(objects) ?? findRanges(objects);
  known.set(objects, found);
  return found;
}

function findRanges(objects: ObjectSet): ReadonlyMap<string, readonly Interval[]> {
  const nodes = new NodeDescriptions(objects);
  const parser = new AddressParser();
  const bySpec = new Map<string, readonly Interval[]>();
  const ranges = new Map<string, readonly Interval[]>();
  for (const { object } of objects.values()) {
    if (object.kind !== "Workload" || !isUnplaced(object)) continue;
    const { node, nodeSelector } = object.spec;
    const key = JSON.stringify([node, nodeSelector]);
    const own = bySpec.get(key) ?? toIntervals(cidrsOf(object, nodes), parser);
    bySpec.set(key, own);
    ranges.set(`${object.metadata.namespace}/${object.metadata.name}`, own);
  }
  return ranges;
}

function cidrsOf(workload: Workload, nodes: NodeDescriptions): readonly string[] {
  const { node, nodeSelector } = workload.spec;
  if (node !== undefined) return nodes.match(node)?.addressRanges ?? [];
  return [
    ...nodes.declared.flatMap((one) => (mayRunOn(workload, one) ? one.addressRanges : [])),
    ...nodes.groups.flatMap(({ metadata, spec }) =>
      mayHold(nodeSelector ?? {}, metadata.labels ?? {}) ? spec.addressRanges : [],
    ),
  ];
}

/** Other groups may give the nodes of a group further labels: only a label that it gives itself can exclude it. */
export function mayHold({ matchLabels, matchExpressions }: LabelSelector, labels: Labels): boolean {
  const isGiven = (key: string): boolean => Object.hasOwn(labels, key);
  return matchesSelector(
    {
      matchLabels: Object.fromEntries(Object.entries(matchLabels ?? {}).filter(([key]) => isGiven(key))),
      matchExpressions: (matchExpressions ?? []).filter(({ key }) => isGiven(key)),
    },
    labels,
  );
}

function toIntervals(cidrs: readonly string[], parser: AddressParser): readonly Interval[] {
  if (cidrs.length === 0) return EVERYWHERE;
  const merged: Interval[] = [];
  for (const next of [...new Set(cidrs)].map((cidr) => parser.parse(cidr)).sort(compareIntervals)) {
    const last = merged.at(-1);
    if (last?.family !== next.family || next.start > last.end + 1n) merged.push(next);
    else if (next.end > last.end) merged[merged.length - 1] = { ...last, end: next.end };
  }
  return merged;
}
