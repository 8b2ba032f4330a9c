/**
 * Places a state: puts the instances in place of the workloads that are found on nodes, and the reported addresses into
 * nodes that declare none. What is returned is a state as if somebody had typed all of it.
 */
import { digestOf } from "../model/digest.js";
import type { NodeEndpoints } from "../model/endpoints.js";
import type { Node, Workload, ZtapObject } from "../model/objects.js";
import { refKey, refOf, type ObjectSet, type StateObject } from "../model/state.js";
import { isDiscovered } from "./process.js";
import {
  InstanceResolver,
  type Instance,
  type Resolution,
  type ResolvedNode,
  type WorkloadTemplate,
} from "./resolve.js";

export function placeInstances(
  objects: ObjectSet,
  { instances, nodes, templates }: Pick<Resolution, "instances" | "nodes" | "templates">,
): ObjectSet {
  const placed = new Map<string, StateObject>();
  const patterns = new Map<string, Pattern>();
  for (const [key, state] of objects) {
    const { object } = state;
    if (object.kind === "Workload" && isDiscovered(object))
      patterns.set(`${object.metadata.namespace}/${object.metadata.name}`, { workload: object, state });
    else placed.set(key, state);
  }
  for (const template of templates) {
    const pattern = patterns.get(template.workload);
    if (pattern !== undefined) addTemplate(placed, template, pattern);
  }
  for (const instance of instances) {
    const pattern = patterns.get(instance.workload);
    if (pattern !== undefined) addInstance(placed, instance, pattern);
  }
  for (const node of nodes) {
    const key = refKey({ kind: "Node", namespace: null, name: node.name });
    const state = placed.get(key);
    const declared = state?.object.kind === "Node" ? state.object : undefined;
    if (node.addresses.length > 0 && (declared === undefined || declared.spec.addresses.length === 0))
      placed.set(key, stateOf(concreteNode(declared, node), state));
  }
  return placed;
}

/**
 * Returns a state as one node compiles it: with what nodes report in place of the patterns.
 * @param self the node; null for nobody's view
 */
export function placeReported(objects: ObjectSet, endpoints: readonly NodeEndpoints[], self: string | null): ObjectSet {
  const resolver = new InstanceResolver(objects, self);
  return resolver.needsReports ? placeInstances(objects, resolver.resolve(endpoints)) : objects;
}

interface Pattern {
  readonly workload: Workload;
  readonly state: StateObject;
}

/** An instance that did not change is the same object, and digested once. */
const made = new WeakMap<
  Instance,
  { readonly pattern: StateObject; readonly key: string; readonly state: StateObject }
>();

function addInstance(
  placed: Map<string, StateObject>,
  instance: Instance,
  { workload, state: pattern }: Pattern,
): void {
  const known = made.get(instance);
  if (known?.pattern === pattern) {
    placed.set(known.key, known.state);
    return;
  }
  const object = concreteWorkload(workload, instance);
  const state = stateOf(object, pattern);
  const key = refKey(state.ref);
  made.set(instance, { pattern, key, state });
  placed.set(key, state);
}

function addTemplate(
  placed: Map<string, StateObject>,
  template: WorkloadTemplate,
  { workload, state: from }: Pattern,
): void {
  const { spec } = concreteWorkload(workload, { ...template, cgroup: null, ports: [] });
  const object = {
    ...workload,
    metadata: { ...workload.metadata, name: nameOf(template) },
    spec: { ...spec, process: template.pattern, isTemplate: true as const },
  };
  const state = stateOf(object, from);
  placed.set(refKey(state.ref), state);
}

function stateOf(object: ZtapObject, from: StateObject | undefined): StateObject {
  const position = from?.position === undefined ? {} : { position: from.position };
  return { ref: refOf(object), digest: digestOf(object), object, ...position };
}

const nameOf = ({ name }: Pick<Instance, "name">): string => name.slice(name.indexOf("/") + 1);

function concreteWorkload(
  workload: Workload,
  instance: Pick<Instance, "name" | "node" | "cgroup" | "addresses" | "ports">,
): Workload {
  const { node, cgroup, addresses, ports: listening } = instance;
  const { process, tolerates, user, ports } = workload.spec;
  return {
    ...workload,
    metadata: { ...workload.metadata, name: nameOf(instance) },
    spec: {
      node,
      addresses,
      ...(cgroup === null ? {} : { cgroup }),
      ...(process !== undefined && "host" in process ? { process } : {}),
      ...(user === undefined ? {} : { user }),
      ...(tolerates === undefined ? {} : { tolerates }),
      ports,
      ...(ports.length > 0 || listening.length === 0 ? {} : { listening }),
    },
  };
}

function concreteNode(declared: Node | undefined, { name, addresses }: ResolvedNode): Node {
  return declared === undefined
    ? { apiVersion: "ztap/v1", kind: "Node", metadata: { name }, spec: { addresses } }
    : { ...declared, spec: { ...declared.spec, addresses } };
}
