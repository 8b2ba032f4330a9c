/**
 * All workloads of a state, indexed for thousands of policies. Workloads are found by their rarest label, so that only
 * those are tried, and each list of peers is resolved once. select.ts alone decides which workloads match.
 */
import type { LabelSelector, NetworkPolicy, Peer } from "../../model/objects.js";
import type { ObjectSet } from "../../model/state.js";
import type { SelectableWorkload } from "./select.js";
import { isSelectorPeer, listSelectable, selectsPeer, selectsSubject } from "./select.js";

export class WorkloadIndex {
  /** In the order of their names. */
  readonly all: readonly SelectableWorkload[];
  /** Those of them that are no templates: a template is nobody's peer. */
  readonly peerable: readonly SelectableWorkload[];
  readonly #byNamespace: ReadonlyMap<string, readonly SelectableWorkload[]>;
  /** By namespace, key and value of a label. */
  readonly #byLabel = new Map<string, SelectableWorkload[]>();
  readonly #peers = new Map<string, readonly SelectableWorkload[]>();

  constructor(objects: ObjectSet) {
    this.all = listSelectable(objects);
    this.peerable = this.all.filter(({ workload }) => workload.spec.isTemplate !== true);
    this.#byNamespace = Map.groupBy(this.all, ({ namespace }) => namespace);
    for (const candidate of this.all) {
      for (const [key, value] of Object.entries(candidate.labels)) {
        const label = labelKey(candidate.namespace, key, value);
        const list = this.#byLabel.get(label);
        if (list === undefined) this.#byLabel.set(label, [candidate]);
        else list.push(candidate);
      }
    }
  }

  /** Returns the workloads that a policy protects. */
  subjectsOf(policy: NetworkPolicy): readonly SelectableWorkload[] {
    return this.#likely(policy.metadata.namespace, policy.spec.podSelector).filter((candidate) =>
      selectsSubject(policy, candidate),
    );
  }

  protectsAny(policy: NetworkPolicy): boolean {
    return this.#likely(policy.metadata.namespace, policy.spec.podSelector).some((candidate) =>
      selectsSubject(policy, candidate),
    );
  }

  /**
   * Returns the workloads that the selector peers of a rule match; without peers, every workload. Equal arguments
   * return the same list.
   */
  peersOf(peers: readonly Peer[], policyNamespace: string): readonly SelectableWorkload[] {
    if (peers.length === 0) return this.peerable;
    const selectors = peers.filter(isSelectorPeer);
    if (selectors.length === 0) return [];
    const key = selectorKey(selectors, policyNamespace);
    const known = this.#peers.get(key);
    if (known !== undefined) return known;
    const found = new Set<SelectableWorkload>();
    for (const peer of selectors) {
      const namespaces = peer.namespaceSelector === undefined ? [policyNamespace] : this.#byNamespace.keys();
      for (const namespace of namespaces) {
        for (const candidate of this.#likely(namespace, peer.podSelector ?? {})) {
          if (candidate.workload.spec.isTemplate !== true && selectsPeer(peer, policyNamespace, candidate))
            found.add(candidate);
        }
      }
    }
    const list = [...found];
    this.#peers.set(key, list);
    return list;
  }

  /**
   * Returns the workloads of a namespace that have the rarest of the selector's labels; all of them if it has no
   * labels.
   */
  #likely(namespace: string, { matchLabels }: LabelSelector): readonly SelectableWorkload[] {
    const lists = Object.entries(matchLabels ?? {}).map(
      ([key, value]) => this.#byLabel.get(labelKey(namespace, key, value)) ?? [],
    );
    return lists.reduce<readonly SelectableWorkload[]>(
      (least, list) => (list.length < least.length ? list : least),
      this.#byNamespace.get(namespace) ?? [],
    );
  }
}

const labelKey = (namespace: string, key: string, value: string): string => `${namespace}\0${key}\0${value}`;

/** Returns a text that is equal for equal sets of workloads. The namespace counts only if a peer does not name one. */
export function selectorKey(selectors: readonly Peer[], policyNamespace: string): string {
  const isLocal = selectors.some((peer) => peer.namespaceSelector === undefined);
  return `${isLocal ? policyNamespace : ""}\0${JSON.stringify(selectors)}`;
}
