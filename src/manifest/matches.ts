/**
 * Which workloads selectors match, fast enough for thousands of policies against thousands of
 * workloads: workloads are found by their most selective label, and only those are tried. What matches
 * is decided by policy/select.ts alone.
 */
import { canonicalJson } from "../model/digest.js";
import type { LabelSelector, Namespace, Peer, Workload } from "../model/objects.js";
import type { ObjectSet } from "../model/state.js";
import { matchesSelector, namespaceLabels } from "../policy/compile/select.js";

export class SelectorIndex {
  /** By namespace, and by namespace and each label. */
  readonly #workloads = new Map<string, Workload[]>();
  /** All namespaces that are declared or that a workload is in. */
  readonly #namespaces = new Map<string, Namespace | undefined>();
  readonly #selectedNamespaces = new Map<string, readonly string[]>();

  constructor(objects: ObjectSet) {
    for (const { object } of objects.values()) {
      if (object.kind === "Namespace") this.#namespaces.set(object.metadata.name, object);
      if (object.kind === "Workload") this.#add(object);
    }
  }

  #add(workload: Workload): void {
    const { namespace, labels } = workload.metadata;
    if (!this.#namespaces.has(namespace)) this.#namespaces.set(namespace, undefined);
    for (const key of [namespace, ...Object.entries(labels ?? {}).map((label) => labelKey(namespace, label))]) {
      const list = this.#workloads.get(key);
      if (list === undefined) this.#workloads.set(key, [workload]);
      else list.push(workload);
    }
  }

  selectsAny(namespace: string, selector: LabelSelector): boolean {
    return this.#candidates(namespace, selector).some((workload) =>
      matchesSelector(selector, workload.metadata.labels ?? {}),
    );
  }

  matchesAny(peer: Peer, policyNamespace: string): boolean {
    return this.#namespacesOf(peer, policyNamespace).some((namespace) =>
      this.selectsAny(namespace, peer.podSelector ?? {}),
    );
  }

  addresslessMatches(peer: Peer, policyNamespace: string): readonly Workload[] {
    const selector = peer.podSelector ?? {};
    return this.#namespacesOf(peer, policyNamespace).flatMap((namespace) =>
      this.#candidates(namespace, selector).filter(
        ({ spec, metadata }) => spec.addresses.length === 0 && matchesSelector(selector, metadata.labels ?? {}),
      ),
    );
  }

  /** The workloads of the namespace that have the selector's rarest label; all of them where it names none. */
  #candidates(namespace: string, selector: LabelSelector): readonly Workload[] {
    const lists = Object.entries(selector.matchLabels ?? {}).map(
      (label) => this.#workloads.get(labelKey(namespace, label)) ?? [],
    );
    return lists.reduce<readonly Workload[]>(
      (a, b) => (b.length < a.length ? b : a),
      this.#workloads.get(namespace) ?? [],
    );
  }

  #namespacesOf(peer: Peer, policyNamespace: string): readonly string[] {
    const { namespaceSelector } = peer;
    if (namespaceSelector === undefined) return [policyNamespace];
    const key = canonicalJson(namespaceSelector);
    const known = this.#selectedNamespaces.get(key);
    if (known !== undefined) return known;
    const selected = [...this.#namespaces]
      .filter(([name, declared]) => matchesSelector(namespaceSelector, namespaceLabels(name, declared)))
      .map(([name]) => name);
    this.#selectedNamespaces.set(key, selected);
    return selected;
  }
}

const labelKey = (namespace: string, [key, value]: readonly [string, string]): string => `${namespace} ${key}=${value}`;
