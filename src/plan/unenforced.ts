/**
 * The workloads that a plan ends the enforcement of: their processes stay, and become open. In the lists of connections
 * they only vanish, as if their connections closed.
 */
import { mayRunOn, NodeDescriptions } from "../inventory/nodes.js";
import { describePattern, expectedCgroup, patternOf } from "../inventory/process.js";
import type { Workload } from "../model/objects.js";
import type { ObjectSet } from "../model/state.js";
import { compile } from "../policy/compile/compile.js";

/**
 * Returns the workloads, `namespace/name`, whose processes the first state enforces and the second has no workload for:
 * it is gone, or has another node, cgroup or address. A workload whose policies end is not among them: the connections
 * that open show it.
 */
export function listUnenforced(before: ObjectSet, after: ObjectSet): readonly string[] {
  const [old, now] = [workloadsOf(before), workloadsOf(after)];
  const [oldNodes, nowNodes] = [new NodeDescriptions(before), new NodeDescriptions(after)];
  const places = new Map([...old].map(([name, workload]) => [name, placesOf(workload, oldNodes, [])]));
  const named = [...new Set([...places.values()].flat().map(({ node }) => node))];
  const covered = new Set([...now.values()].flatMap((workload) => placesOf(workload, nowNodes, named)).map(textOf));
  const enforced = compile(before, null).subjects.filter(
    ({ ingress, egress }) => ingress.mode === "enforce" || egress.mode === "enforce",
  );
  return enforced.flatMap(({ workload: name }) => {
    const own = places.get(name) ?? [];
    return own.every((place) => isCovered(textOf(place), covered)) ? [] : [name];
  });
}

function workloadsOf(objects: ObjectSet): ReadonlyMap<string, Workload> {
  const workloads = [...objects.values()].flatMap(({ object }) => (object.kind === "Workload" ? [object] : []));
  return new Map(workloads.map((one) => [`${one.metadata.namespace}/${one.metadata.name}`, one]));
}

interface Place {
  readonly node: string;
  /** A cgroup, an address or, where only the node knows the cgroup, the pattern in words. */
  readonly what: string;
}

const textOf = ({ node, what }: Place): string => `${node} ${what}`;

/**
 * Where its processes are found: eBPF by the cgroup, pf by the addresses. Empty for an external peer. Nodes that only a
 * NodeGroup describes are that group.
 * @param named further nodes that count if the workload runs on them
 */
function placesOf(workload: Workload, nodes: NodeDescriptions, named: readonly string[]): readonly Place[] {
  const pattern = patternOf(workload);
  const whats = pattern === null ? workload.spec.addresses : [expectedCgroup(pattern) ?? describePattern(pattern)];
  return nodesOf(workload, nodes, named).flatMap((node) => whats.map((what) => ({ node, what })));
}

function nodesOf(workload: Workload, nodes: NodeDescriptions, named: readonly string[]): readonly string[] {
  const { node, nodeSelector } = workload.spec;
  if (node !== undefined) return [node];
  if (nodeSelector === undefined) return [];
  const known = [...nodes.declared.map(({ name }) => name), ...named].flatMap((name) => nodes.match(name) ?? []);
  return [
    ...known.filter((one) => mayRunOn(workload, one)).map(({ name }) => name),
    ...nodes.groups
      .filter(({ metadata }) => mayRunOn(workload, { name: "", labels: metadata.labels ?? {} }))
      .map(({ metadata }) => `NodeGroup ${metadata.name}`),
  ];
}

/** A workload also has the cgroups inside its own. */
function isCovered(place: string, covered: ReadonlySet<string>): boolean {
  for (let end = place.length; end > 0; end = place.lastIndexOf("/", end - 1)) {
    if (covered.has(place.slice(0, end))) return true;
  }
  return false;
}
