/**
 * Shared addresses: those that more than one node has, by its own report or by that of a workload on it. Each node may report them,
 * so they count; but a rule that lets in the workloads of one lets in those of the other as well.
 */
import type { ObjectSet } from "../model/state.js";
import type { Resolution } from "./resolve.js";

export interface SharedAddress {
  readonly address: string;
  /** At least two, sorted. */
  readonly nodes: readonly string[];
}

/** Lists them by address. An address that Git declares for a workload of many nodes, such as that of a balancer, is none. */
export function listSharedAddresses(
  objects: ObjectSet,
  { nodes, instances }: Pick<Resolution, "nodes" | "instances">,
): readonly SharedAddress[] {
  const owners = new Map<string, Set<string>>();
  const add = (node: string, addresses: readonly string[]): void => {
    for (const address of addresses) owners.set(address, (owners.get(address) ?? new Set()).add(node));
  };
  for (const { name, addresses } of nodes) add(name, addresses);
  for (const { node, workload, addresses } of instances) if (!hasDeclared(objects, workload)) add(node, addresses);
  return [...owners]
    .flatMap(([address, names]) => (names.size < 2 ? [] : [{ address, nodes: [...names].sort() }]))
    .sort((a, b) => (a.address < b.address ? -1 : 1));
}

function hasDeclared(objects: ObjectSet, workload: string): boolean {
  const object = objects.get(`Workload/${workload}`)?.object;
  return object?.kind === "Workload" && object.spec.addresses.length > 0;
}
