/**
 * Finds which of two workloads with one address a rule selects. A rule names workloads, but is enforced by address. So
 * it also opens connections for the other workload, which the author did not intend, and which should not hide the
 * intended ones.
 */
import type { Rule } from "../model/ruleset.js";
import { qualifiedName, type ObjectSet } from "../model/state.js";
import { rangesOfUnplaced } from "../inventory/unplaced.js";
import { AddressParser, AddressSet } from "./address-space.js";
import { WorkloadIndex } from "./compile/workload-index.js";
import { NetworkSetIndex } from "./compile/network-sets.js";
import { blockCidrs, canonicalCidrs } from "./compile/peers.js";
import { rulePeers } from "./reachability/set-names.js";

export interface Meaning {
  /**
   * Returns whether the rule selects this workload itself, and not only an address that it shares with a selected one.
   */
  means(rule: Rule, workload: string): boolean;
}

export function createMeaning(objects: ObjectSet): Meaning {
  const candidates = new WorkloadIndex(objects);
  const networkSets = new NetworkSetIndex(objects);
  const parser = new AddressParser();
  const unplaced = rangesOfUnplaced(objects);
  const byName = new Map(candidates.all.map((candidate) => [candidate.name, candidate]));
  const meant = new Map<string, (workload: string) => boolean>();
  const read = (rule: Rule): ((workload: string) => boolean) => {
    const peers = rulePeers(rule, objects);
    if (peers.length === 0) return () => true;
    const names = new Set(candidates.peersOf(peers, rule.policy.namespace).map(({ name }) => name));
    const blocks = new AddressSet(canonicalCidrs(blockCidrs(peers, networkSets)).map((cidr) => parser.parse(cidr)));
    return (workload) => {
      if (names.has(workload)) return true;
      const addresses = byName.get(workload)?.workload.spec.addresses ?? [];
      const ranges = unplaced.get(workload) ?? addresses.map((address) => parser.parse(address));
      return ranges.some((range) => blocks.meets(range));
    };
  };
  return {
    means: (rule, workload) => {
      const key = `${rule.direction} ${qualifiedName(rule.policy)} ${rule.index}`;
      const isMeant = meant.get(key) ?? read(rule);
      meant.set(key, isMeant);
      return isMeant(workload);
    },
  };
}

/**
 * Returns for each workload a number that distinguishes it from others with its address. Workloads that share no
 * address have the same number, as have those that share one and have equal labels.
 */
export function labelClasses(objects: ObjectSet, names: readonly string[]): Uint32Array {
  const holders = new Map<string, number>();
  const workloads = new Map<string, { readonly addresses: readonly string[]; readonly labels: string }>();
  for (const { object } of objects.values()) {
    if (object.kind !== "Workload") continue;
    const { metadata, spec } = object;
    const labels = JSON.stringify([metadata.namespace, Object.entries(metadata.labels ?? {}).sort()]);
    workloads.set(qualifiedName(metadata), { addresses: spec.addresses, labels });
    for (const address of spec.addresses) holders.set(address, (holders.get(address) ?? 0) + 1);
  }
  const ids = new Map<string, number>();
  return Uint32Array.from(names, (name) => {
    const { addresses, labels } = workloads.get(name) ?? { addresses: [], labels: "" };
    if (!addresses.some((address) => (holders.get(address) ?? 0) > 1)) return 0;
    const id = ids.get(labels) ?? ids.size + 1;
    ids.set(labels, id);
    return id;
  });
}
