/**
 * Concerns: the workloads whose instances one node's ruleset depends on: those that run on it, and those that rules for
 * them name. A change of any other instance changes nothing on this node.
 */
import { matchNode, runsOn } from "../inventory/nodes.js";
import { isDiscovered } from "../inventory/process.js";
import type { NetworkPolicy, Peer } from "../model/objects.js";
import type { ObjectSet } from "../model/state.js";
import type { SelectableWorkload } from "./compile/select.js";
import { WorkloadIndex } from "./compile/workload-index.js";

/**
 * Returns the names, `namespace/name`, of the workloads that are found on nodes and that concern this one.
 * @param os the operating system of the node; null if that is not known
 */
export function listConcerns(objects: ObjectSet, name: string, os: string | null): ReadonlySet<string> {
  const node = matchNode(objects, name);
  const index = new WorkloadIndex(objects);
  const isOwn = ({ workload }: SelectableWorkload): boolean =>
    node === undefined ? workload.spec.node === name : runsOn(workload, node, os);
  const own = new Set(index.all.filter(isOwn));
  const concerns = new Set<string>();
  const add = (candidates: Iterable<SelectableWorkload>): void => {
    for (const { name: workload, workload: object } of candidates) if (isDiscovered(object)) concerns.add(workload);
  };
  add(own);
  for (const { object } of objects.values()) {
    if (object.kind !== "NetworkPolicy" || !index.subjectsOf(object).some((one) => own.has(one))) continue;
    for (const peers of peerLists(object)) add(index.peersOf(peers, object.metadata.namespace));
  }
  return concerns;
}

/** A rule without peers matches every address; only a port name makes it depend on workloads. */
function peerLists({ spec }: NetworkPolicy): readonly (readonly Peer[])[] {
  const ingress = (spec.ingress ?? []).flatMap(({ from = [] }) => (from.length === 0 ? [] : [from]));
  const egress = (spec.egress ?? []).flatMap(({ to = [], ports = [] }) => {
    const hasNames = ports.some((port) => port.protocol !== "ICMP" && typeof port.port === "string");
    return to.length === 0 && !hasNames ? [] : [to];
  });
  return [...ingress, ...egress];
}
