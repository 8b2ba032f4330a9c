/**
 * Concerns: the workloads whose instances one node's ruleset depends on: those that run on it, those that rules for
 * them name, and those that let in some of them and not others. A change of any other instance changes nothing on this
 * node, unless that instance has an address of one of the last (see `Concerns`).
 */
import { matchNode, runsOn } from "../inventory/nodes.js";
import { isDiscovered } from "../inventory/process.js";
import type { NetworkPolicy, Peer } from "../model/objects.js";
import type { ObjectSet } from "../model/state.js";
import { identityModeOf, modeOf } from "./compile/modes.js";
import { isSelectorPeer, type SelectableWorkload } from "./compile/select.js";
import { WorkloadIndex } from "./compile/workload-index.js";

export interface Concerns {
  /** The workloads that are found on nodes and that concern this one, `namespace/name`. */
  readonly workloads: ReadonlySet<string>;
  /**
   * All workloads of which the node asks whether they let its own in: what else has their addresses, and its ports,
   * concerns the node as well.
   */
  readonly destinations: ReadonlySet<string>;
}

/**
 * Returns what concerns a node.
 * @param os the operating system of the node; null if that is not known
 * @param sharing workloads elsewhere that share an address with one of the node's
 */
export function listConcerns(
  objects: ObjectSet,
  name: string,
  os: string | null,
  sharing: ReadonlySet<string> = NOBODY,
): Concerns {
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
  const known = new Set([...own, ...index.all.filter(({ name: workload }) => sharing.has(workload))]);
  const destinations = listDestinations(objects, index, known);
  add(destinations);
  return { workloads: concerns, destinations: new Set([...destinations].map(({ name: workload }) => workload)) };
}

const NOBODY: ReadonlySet<string> = new Set();

/** Where workloads share an address, only a rule that names some of them and not others leaves a question. */
function listDestinations(
  objects: ObjectSet,
  index: WorkloadIndex,
  own: ReadonlySet<SelectableWorkload>,
): ReadonlySet<SelectableWorkload> {
  const destinations = new Set<SelectableWorkload>();
  if (own.size < 2 || identityModeOf(objects) === "address") return destinations;
  for (const { object } of objects.values()) {
    if (object.kind !== "NetworkPolicy" || !object.spec.policyTypes.includes("Ingress")) continue;
    if (modeOf(object, "ingress", objects) !== "enforce") continue;
    const tells = (object.spec.ingress ?? []).some(({ from = [] }) => {
      if (!from.some(isSelectorPeer)) return false;
      const named = index.peersOf(from, object.metadata.namespace).filter((one) => own.has(one)).length;
      return named > 0 && named < own.size;
    });
    if (tells) for (const subject of index.subjectsOf(object)) destinations.add(subject);
  }
  return destinations;
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
