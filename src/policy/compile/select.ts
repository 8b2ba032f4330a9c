/**
 * Label selection with Kubernetes' semantics.
 *
 * Source: Kubernetes API, LabelSelector ("a label selector is a label query over a set of resources;
 * the result of matchLabels and matchExpressions are ANDed; an empty label selector matches all
 * objects") and NetworkPolicyPeer (podSelector, namespaceSelector and their combination).
 */
import type {
  Labels,
  LabelSelector,
  Namespace,
  NetworkPolicy,
  Peer,
  SelectorRequirement,
  Workload,
} from "../../model/objects.js";
import type { ObjectSet } from "../../model/state.js";

export function matchesSelector(selector: LabelSelector, labels: Labels): boolean {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    if (labelOf(labels, key) !== value) return false;
  }
  return (selector.matchExpressions ?? []).every((requirement) => matchesRequirement(requirement, labels));
}

/** `NotIn` and `DoesNotExist` also match where the key is absent (Kubernetes API, LabelSelectorRequirement). */
function matchesRequirement(requirement: SelectorRequirement, labels: Labels): boolean {
  const value = labelOf(labels, requirement.key);
  switch (requirement.operator) {
    case "In":
      return value !== undefined && (requirement.values ?? []).includes(value);
    case "NotIn":
      return value === undefined || !(requirement.values ?? []).includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
  }
}

/** Own properties only: a label named `constructor` must not be found on every object. */
function labelOf(labels: Labels, key: string): string | undefined {
  return Object.hasOwn(labels, key) ? labels[key] : undefined;
}

/** Returns the labels that `namespaceSelector` sees; `kubernetes.io/metadata.name` is always the name. */
export function namespaceLabels(name: string, declared: Namespace | undefined): Labels {
  return { ...declared?.metadata.labels, "kubernetes.io/metadata.name": name };
}

/** A workload with the labels of its namespace, ready to be selected. */
export interface SelectableWorkload {
  readonly name: string;
  readonly workload: Workload;
  readonly namespace: string;
  readonly labels: Labels;
  readonly namespaceLabels: Labels;
}

/** Returns all workloads of a state, in the order of their qualified names. */
export function listSelectable(objects: ObjectSet): readonly SelectableWorkload[] {
  const declared = new Map<string, Namespace>();
  const workloads: Workload[] = [];
  for (const { object } of objects.values()) {
    if (object.kind === "Namespace") declared.set(object.metadata.name, object);
    if (object.kind === "Workload") workloads.push(object);
  }
  const labelsByNamespace = new Map<string, Labels>();
  return workloads
    .map((workload) => {
      const namespace = workload.metadata.namespace;
      const cached = labelsByNamespace.get(namespace) ?? namespaceLabels(namespace, declared.get(namespace));
      labelsByNamespace.set(namespace, cached);
      return {
        name: `${namespace}/${workload.metadata.name}`,
        workload,
        namespace,
        labels: workload.metadata.labels ?? {},
        namespaceLabels: cached,
      };
    })
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Returns whether a policy protects the workload: it must be in the policy's namespace and match podSelector. */
export function selectsSubject(policy: NetworkPolicy, candidate: SelectableWorkload): boolean {
  return (
    candidate.namespace === policy.metadata.namespace && matchesSelector(policy.spec.podSelector, candidate.labels)
  );
}

/** Returns whether a peer selects workloads; every other peer stands for addresses. */
export function isSelectorPeer({ podSelector, namespaceSelector }: Peer): boolean {
  return podSelector !== undefined || namespaceSelector !== undefined;
}

/**
 * Returns whether a selector peer matches this workload. Without a namespaceSelector it matches in the policy's own
 * namespace only; without a podSelector it matches every workload of the selected namespaces.
 */
export function selectsPeer(peer: Peer, policyNamespace: string, candidate: SelectableWorkload): boolean {
  if (!isSelectorPeer(peer)) return false;
  const inNamespace =
    peer.namespaceSelector === undefined
      ? candidate.namespace === policyNamespace
      : matchesSelector(peer.namespaceSelector, candidate.namespaceLabels);
  return inNamespace && (peer.podSelector === undefined || matchesSelector(peer.podSelector, candidate.labels));
}
