/**
 * The nodes of each address: by their own reports, by those of workloads on them, and by what Git declares. Each node may report
 * an address that another one has, so both count; but a rule that lets in the workloads of one lets in those of the other as well.
 */
import type { ObjectSet } from "../model/state.js";
import type { Resolution } from "./resolve.js";

type Found = Pick<Resolution, "nodes" | "instances">;

/** The nodes of an address, by name. */
export type NodesByAddress = ReadonlyMap<string, ReadonlySet<string>>;

export interface SharedAddress {
  readonly address: string;
  /** At least two, sorted. */
  readonly nodes: readonly string[];
}

/** Lists them by address. An address that Git declares for a workload of many nodes, such as that of a balancer, is none. */
export function listSharedAddresses(objects: ObjectSet, found: Found): readonly SharedAddress[] {
  return [...listReported(objects, found)]
    .flatMap(([address, names]) => (names.size < 2 ? [] : [{ address, nodes: [...names].sort() }]))
    .sort((a, b) => (a.address < b.address ? -1 : 1));
}

/** Returns the nodes of all addresses, except those that Git itself declares for several nodes: these are no node's own. */
export function nodesByAddress(objects: ObjectSet, found: Found): NodesByAddress {
  const nodes = listReported(objects, found);
  for (const [address, names] of listDeclared(objects, found))
    if (names.size === 1) for (const name of names) addNode(nodes, address, name);
  return nodes;
}

/** By what nodes report, or Git declares for them. */
function listReported(objects: ObjectSet, { nodes, instances }: Found): Map<string, Set<string>> {
  const owners = new Map<string, Set<string>>();
  for (const { name, addresses } of nodes) for (const address of addresses) addNode(owners, address, name);
  for (const { node, workload, addresses } of instances)
    if (!hasDeclared(objects, workload)) for (const address of addresses) addNode(owners, address, node);
  return owners;
}

/** By what Git declares for workloads. */
function listDeclared(objects: ObjectSet, { instances }: Found): ReadonlyMap<string, ReadonlySet<string>> {
  const owners = new Map<string, Set<string>>();
  for (const { node, workload, addresses } of instances)
    if (hasDeclared(objects, workload)) for (const address of addresses) addNode(owners, address, node);
  for (const { object } of objects.values())
    if (object.kind === "Workload" && object.spec.node !== undefined)
      for (const address of object.spec.addresses) addNode(owners, address, object.spec.node);
  return owners;
}

function addNode(owners: Map<string, Set<string>>, address: string, node: string): void {
  owners.set(address, (owners.get(address) ?? new Set()).add(node));
}

function hasDeclared(objects: ObjectSet, workload: string): boolean {
  const object = objects.get(`Workload/${workload}`)?.object;
  return object?.kind === "Workload" && object.spec.addresses.length > 0;
}
