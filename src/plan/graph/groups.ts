/** The workloads that one node of a graph stands for: they have the same connections and the same labels. */
import type { ObjectSet } from "../../model/state.js";
import { createReach, type Reach } from "../../policy/reachability/reach.js";
import type { PortSetId, PortSets } from "../../policy/reachability/port-sets.js";
import { GraphTooLarge } from "./limits.js";

/** One state. Classes of workloads are numbered; -1 is the class of a workload that the state does not have. */
export interface GraphSide {
  readonly objects: ObjectSet;
  readonly reach: Reach;
  /** Returns the ports that a workload of one class may open to a workload of another. */
  readonly between: (from: number, to: number) => PortSetId;
  /** By class: the first class that has the very same connections. */
  readonly alike: readonly number[];
  /** By class: the index of one of its workloads. */
  readonly examples: readonly number[];
}

export interface WorkloadGroup {
  readonly namespace: string;
  /** `namespace/name`, sorted. */
  readonly members: readonly string[];
  readonly oldClass: number;
  readonly nowClass: number;
}

/** Largest number of classes. All pairs of classes are compared: some millions. */
const MAX_CLASSES = 2_000;

/**
 * Computes the reach of a state and its classes.
 * @throws GraphTooLarge
 */
export function openSide(objects: ObjectSet, sets: PortSets): GraphSide {
  const reach = createReach(objects, sets);
  if (reach.classCount > MAX_CLASSES) throw new GraphTooLarge();
  const rows = Array.from({ length: reach.classCount }, (_, index) => reach.row(index).slice());
  const examples: number[] = [];
  for (const [index, id] of reach.classOf.entries()) examples[id] ??= index;
  const outside = numberLists();
  const firsts = new Map<string, number>();
  const alike = rows.map((row, id) => {
    const column = rows.map((other) => other[id]);
    const example = examples[id] ?? 0;
    const blocks = (["egress", "ingress"] as const).map((way) => outside(reach.external.ranges(example, way)));
    const key = [row.join(), column.join(), reach.isSeveral[id], ...blocks].join("|");
    const first = firsts.get(key) ?? id;
    firsts.set(key, first);
    return first;
  });
  return {
    objects,
    reach,
    alike,
    examples,
    between: (from, to) => (from < 0 || to < 0 ? sets.empty : (rows[from]?.[to] ?? sets.empty)),
  };
}

/** Equal lists get equal numbers; each list is spelled out once. */
function numberLists(): (list: ReturnType<Reach["external"]["ranges"]>) => number {
  const known = new Map<unknown, number>();
  const texts = new Map<string, number>();
  return (list) => {
    const found = known.get(list);
    if (found !== undefined) return found;
    const text = list.map(({ family, start, end, set }) => `${family} ${start} ${end} ${set}`).join();
    const number = texts.get(text) ?? texts.size;
    texts.set(text, number);
    known.set(list, number);
    return number;
  };
}

/**
 * Groups the workloads.
 * @param byLabels workloads with different labels are in different groups; labels that only one workload has do not
 * count
 */
export function groupWorkloads(old: GraphSide, now: GraphSide, byLabels: boolean): readonly WorkloadGroup[] {
  const classesOf = (side: GraphSide) =>
    new Map(side.reach.names.map((name, index) => [name, side.alike[side.reach.classOf[index] ?? 0] ?? 0]));
  const [oldClasses, nowClasses] = [classesOf(old), classesOf(now)];
  const names = [...new Set([...oldClasses.keys(), ...nowClasses.keys()])].sort();
  const labelsOf = byLabels ? sharedLabels(old.objects, now.objects) : () => "";
  const members = Map.groupBy(names, (name) => {
    const [namespace = ""] = name.split("/");
    const [oldClass, nowClass] = [oldClasses.get(name) ?? -1, nowClasses.get(name) ?? -1];
    // What it sends to itself is opened or closed, and what it sends to others like it is not: so it stands alone.
    const isSplit = oldClass >= 0 && nowClass >= 0 && old.reach.isSeveral[oldClass] !== now.reach.isSeveral[nowClass];
    return [oldClass, nowClass, namespace, labelsOf(name), isSplit ? name : ""].join("|");
  });
  return [...members.values()].map((group) => {
    const [first = ""] = group;
    const [namespace = ""] = first.split("/");
    const [oldClass, nowClass] = [oldClasses.get(first) ?? -1, nowClasses.get(first) ?? -1];
    return { namespace, members: group, oldClass, nowClass };
  });
}

/** A label of a single workload adds nothing to its name. */
function sharedLabels(before: ObjectSet, after: ObjectSet): (workload: string) => string {
  const labels = new Map<string, readonly string[]>();
  for (const objects of [before, after]) {
    for (const { object } of objects.values()) {
      if (object.kind !== "Workload") continue;
      const { namespace, name, labels: own = {} } = object.metadata;
      const pairs = Object.entries(own).map(([key, value]) => `${key}=${value}`);
      labels.set(`${namespace}/${name}`, pairs.sort());
    }
  }
  const counts = new Map<string, number>();
  const keyOf = (workload: string, pair: string) => `${workload.split("/")[0] ?? ""} ${pair}`;
  for (const [workload, pairs] of labels) {
    for (const pair of pairs) counts.set(keyOf(workload, pair), (counts.get(keyOf(workload, pair)) ?? 0) + 1);
  }
  return (workload) =>
    (labels.get(workload) ?? []).filter((pair) => (counts.get(keyOf(workload, pair)) ?? 0) > 1).join();
}
