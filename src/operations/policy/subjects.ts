/** The subjects of a policy: workloads that Git places, and the instances of patterns, found or missing. */
import { instanceName } from "../../inventory/names.js";
import { placeInstances } from "../../inventory/place.js";
import { InstanceResolver } from "../../inventory/resolve.js";
import type { NodeEndpoints } from "../../model/endpoints.js";
import type { NetworkPolicy } from "../../model/objects.js";
import type { ObjectSet } from "../../model/state.js";
import { listSelectable, selectsSubject } from "../../policy/compile/select.js";

export interface PolicySubject {
  /** The name of the subject. */
  readonly workload: string;
  /** Null for an external peer, and for a pattern that no node has reported. */
  readonly node: string | null;
}

/** Returns the subjects by name. */
export function listSubjects(
  policy: NetworkPolicy,
  objects: ObjectSet,
  endpoints: readonly NodeEndpoints[],
): readonly PolicySubject[] {
  const selected = (from: ObjectSet): readonly PolicySubject[] =>
    listSelectable(from)
      .filter((candidate) => selectsSubject(policy, candidate))
      .map(({ name, workload }) => ({ workload: name, node: workload.spec.node ?? null }));
  const resolver = new InstanceResolver(objects, null);
  if (!resolver.needsReports) return selected(objects);
  const resolution = resolver.resolve(endpoints);
  const reports = new Map(endpoints.map((one) => [one.node, one]));
  const nodes = new Set([...resolution.nodes.map(({ name }) => name), ...reports.keys()]);
  const declared = selected(objects).map(({ workload }) => workload);
  const missing = [...nodes].flatMap((node) =>
    resolver
      .missingOn(node, resolution, reports.get(node)?.os ?? null)
      .filter(({ workload }) => declared.includes(workload))
      .map(({ workload }) => ({ workload: instanceName(workload, node, ""), node, of: workload })),
  );
  const placed = selected(placeInstances(objects, resolution));
  const seen = new Set([...placed.map(({ workload }) => workload.split("@")[0]), ...missing.map(({ of }) => of)]);
  const unseen = declared.filter((workload) => !seen.has(workload)).map((workload) => ({ workload, node: null }));
  return [...placed, ...missing.map(({ workload, node }) => ({ workload, node })), ...unseen].sort((a, b) =>
    a.workload < b.workload ? -1 : 1,
  );
}
