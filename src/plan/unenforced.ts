/**
 * The workloads that a plan ends the enforcement of: their processes stay, and become open. In the lists of connections
 * they only vanish, as if their connections closed.
 */
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
  const covered = new Set([...now.values()].flatMap(placesOf));
  const enforced = compile(before, null).subjects.filter(
    ({ ingress, egress }) => ingress.mode === "enforce" || egress.mode === "enforce",
  );
  return enforced.flatMap(({ workload: name }) => {
    const workload = old.get(name);
    const places = workload === undefined ? [] : placesOf(workload);
    return places.every((place) => isCovered(place, covered)) ? [] : [name];
  });
}

function workloadsOf(objects: ObjectSet): ReadonlyMap<string, Workload> {
  const workloads = [...objects.values()].flatMap(({ object }) => (object.kind === "Workload" ? [object] : []));
  return new Map(workloads.map((one) => [`${one.metadata.namespace}/${one.metadata.name}`, one]));
}

/** Where its processes are found: eBPF by the cgroup, pf by the addresses. Empty for an external peer. */
function placesOf({ spec: { node, cgroup, addresses } }: Workload): readonly string[] {
  if (node === undefined) return [];
  return cgroup === undefined ? addresses.map((address) => `${node} ${address}`) : [`${node} ${cgroup}`];
}

/** A workload also has the cgroups inside its own. */
function isCovered(place: string, covered: ReadonlySet<string>): boolean {
  for (let end = place.length; end > 0; end = place.lastIndexOf("/", end - 1)) {
    if (covered.has(place.slice(0, end))) return true;
  }
  return false;
}
