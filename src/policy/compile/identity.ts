/**
 * Identity profiles: what the destinations of a subject let in, asked at the source. See docs/adr/0018-source-identity.md.
 *
 * A destination knows a sender by its address. Where a workload that it lets in shares that address with the subject, it
 * would let the subject in as well. So the subject's node asks the ingress policies of the workloads at such a destination
 * with the subject's own labels. For every other destination the destination's own check is exact. Pure.
 */
import { digestOfText } from "../../model/digest.js";
import type { IngressRule, NetworkPolicy, Workload } from "../../model/objects.js";
import type { Profile } from "../../model/ruleset.js";
import { refKey, type ObjectSet } from "../../model/state.js";
import { AddressParser, AddressSet } from "../address-space.js";
import { Destinations, isIdentifying, placesOf, type LetIn } from "./destinations.js";
import { identityModeOf, modeOf } from "./modes.js";
import type { NetworkSetIndex } from "./network-sets.js";
import { blockCidrs, readPorts } from "./peers.js";
import { isSelectorPeer, selectsPeer, type SelectableWorkload } from "./select.js";
import { selectorKey, type WorkloadIndex } from "./workload-index.js";

/** A policy, with the workloads that it selects. */
export interface SelectingPolicy {
  readonly name: string;
  readonly policy: NetworkPolicy;
  readonly subjects: readonly SelectableWorkload[];
}

interface IngressRuleRef extends LetIn {
  /** `namespace/policy/index`. */
  readonly key: string;
  /** Null if the rule has no selectors. */
  readonly group: SelectorGroup | null;
  /** `any`: every peer. */
  readonly blocks: "any" | AddressSet | null;
}

/** The rules whose selectors match the same workloads. */
interface SelectorGroup {
  readonly key: string;
  readonly rules: IngressRuleRef[];
}

/** What is reachable only through a co-located workload. */
interface Reached {
  readonly key: string;
  readonly destinations: Destinations;
  /** The rules that isolate the workloads there. */
  readonly rules: readonly IngressRuleRef[];
}

export class IdentityProfiles {
  readonly #byAddress = new Map<string, SelectableWorkload[]>();
  /** The rules of each isolated workload. */
  readonly #isolating = new Map<SelectableWorkload, IngressRuleRef[]>();
  readonly #groupsOf = new Map<SelectableWorkload, Set<SelectorGroup>>();
  readonly #reached = new Map<string, Reached>();
  readonly #profiles = new Map<string, Profile>();
  readonly #labels = new Map<SelectableWorkload, string>();
  readonly #parser = new AddressParser();
  readonly #byPlace = new Map<string, SelectableWorkload[]>();
  /** They send as their workload does, and are nobody's peers. */
  readonly #templates: readonly SelectableWorkload[];

  constructor(
    private readonly objects: ObjectSet,
    private readonly candidates: WorkloadIndex,
    private readonly sets: NetworkSetIndex,
    policies: Iterable<SelectingPolicy>,
  ) {
    this.#templates = candidates.all.filter(({ workload }) => workload.spec.isTemplate === true);
    if (identityModeOf(objects) === "address") return;
    for (const candidate of candidates.peerable) {
      for (const address of addressesOf(candidate)) addTo(this.#byAddress, address, candidate);
      for (const place of placesOf(candidate)) addTo(this.#byPlace, place, candidate);
    }
    if (![...this.#byAddress.values()].some((sharing) => this.#areMixed(sharing))) return;
    this.#readPolicies(policies);
  }

  /** Returns the profile of a workload; undefined if its addresses identify it well enough, or nothing enforces it. */
  profileOf(candidate: SelectableWorkload): Profile | undefined {
    if (this.#isolating.size === 0 || !isSender(candidate.workload, this.objects)) return undefined;
    const own = this.#groupsOf.get(candidate);
    const foreign = new Set<SelectorGroup>();
    for (const address of addressesOf(candidate))
      for (const other of this.#byAddress.get(address) ?? [])
        for (const group of this.#groupsOf.get(other) ?? []) if (own?.has(group) !== true) foreign.add(group);
    if (foreign.size === 0) return undefined;
    const reached = this.#reach(foreign);
    const letIn = reached.rules.filter((rule) => this.#letsIn(rule, candidate));
    const key = `identity:${digestOfText(JSON.stringify([reached.key, letIn.map((rule) => rule.key)])).slice(0, 16)}`;
    const known = this.#profiles.get(key);
    if (known !== undefined) return known;
    const profile: Profile = { key, direction: "egress", rules: [], clauses: reached.destinations.clauses(letIn) };
    this.#profiles.set(key, profile);
    return profile;
  }

  /** Whether workloads with different labels share an address: otherwise no question arises. */
  #areMixed(sharing: readonly SelectableWorkload[]): boolean {
    const [first, ...others] = sharing;
    if (first === undefined || others.length === 0) return false;
    return others.some((other) => this.#labelsOf(other) !== this.#labelsOf(first));
  }

  #labelsOf(candidate: SelectableWorkload): string {
    const text =
      this.#labels.get(candidate) ?? JSON.stringify([candidate.namespace, Object.entries(candidate.labels).sort()]);
    this.#labels.set(candidate, text);
    return text;
  }

  #readPolicies(policies: Iterable<SelectingPolicy>): void {
    const groups = new Map<readonly SelectableWorkload[], SelectorGroup>();
    for (const { name, policy, subjects } of policies) {
      if (!policy.spec.policyTypes.includes("Ingress") || modeOf(policy, "ingress", this.objects) !== "enforce")
        continue;
      const rules = (policy.spec.ingress ?? []).map((rule, index) =>
        this.#readRule(rule, { key: `${name}/${index}`, namespace: policy.metadata.namespace, subjects, groups }),
      );
      for (const subject of subjects) addAll(this.#isolating, subject, rules);
    }
    for (const [members, group] of groups) {
      for (const member of members) this.#addGroup(member, group);
    }
  }

  #addGroup(member: SelectableWorkload, group: SelectorGroup): void {
    this.#groupsOf.set(member, (this.#groupsOf.get(member) ?? new Set()).add(group));
  }

  #readRule(
    { from = [], ports }: IngressRule,
    {
      key,
      namespace,
      subjects,
      groups,
    }: {
      readonly key: string;
      readonly namespace: string;
      readonly subjects: readonly SelectableWorkload[];
      readonly groups: Map<readonly SelectableWorkload[], SelectorGroup>;
    },
  ): IngressRuleRef {
    const selectors = from.filter(isSelectorPeer);
    let group: SelectorGroup | null = null;
    if (selectors.length > 0) {
      const members = this.candidates.peersOf(from, namespace);
      group = groups.get(members) ?? { key: selectorKey(selectors, namespace), rules: [] };
      groups.set(members, group);
      for (const template of this.#templates)
        if (selectors.some((peer) => selectsPeer(peer, namespace, template))) this.#addGroup(template, group);
    }
    const cidrs = blockCidrs(from, this.sets);
    const blocks =
      from.length === 0
        ? ("any" as const)
        : cidrs.length === 0
          ? null
          : new AddressSet(cidrs.map((cidr) => this.#parser.parse(cidr)));
    const rule: IngressRuleRef = { key, ports: readPorts(ports), subjects, group, blocks };
    group?.rules.push(rule);
    return rule;
  }

  /** Returns the addresses of the workloads that these groups are let in at, and all that is known there. */
  #reach(groups: ReadonlySet<SelectorGroup>): Reached {
    const rules = [...groups].flatMap((group) => group.rules);
    const key = JSON.stringify(rules.map((rule) => rule.key).sort());
    const known = this.#reached.get(key);
    if (known !== undefined) return known;
    const places = new Set(rules.flatMap(({ subjects }) => subjects).flatMap(placesOf));
    const byPlace = new Map([...places].sort().map((place) => [place, this.#byPlace.get(place) ?? []]));
    const isolating = new Set<IngressRuleRef>();
    for (const owner of new Set([...byPlace.values()].flat()))
      for (const rule of this.#isolating.get(owner) ?? []) isolating.add(rule);
    const all = [...isolating].sort((a, b) => (a.key < b.key ? -1 : 1));
    const reached: Reached = {
      key,
      destinations: new Destinations(
        byPlace,
        (owner) => this.#isolating.has(owner),
        all.filter(({ group }) => group !== null),
      ),
      rules: all,
    };
    this.#reached.set(key, reached);
    return reached;
  }

  /** A rule by addresses lets in whoever has them: there the destination decides. */
  #letsIn({ group, blocks }: IngressRuleRef, candidate: SelectableWorkload): boolean {
    if (blocks === "any" || (group !== null && this.#groupsOf.get(candidate)?.has(group) === true)) return true;
    return blocks !== null && addressesOf(candidate).some((address) => blocks.has(this.#parser.parse(address)));
  }
}

/** Returns whether a node asks for what the workload sends. pf knows a workload by its address alone. */
export function isSender({ spec }: Workload, objects: ObjectSet): boolean {
  if (spec.cgroup === undefined && spec.process === undefined) return false;
  if (spec.node === undefined) return spec.nodeSelector !== undefined;
  const node = objects.get(refKey({ kind: "Node", namespace: null, name: spec.node }))?.object;
  return node?.kind !== "Node" || node.spec.enforcement !== "pf";
}

function addressesOf({ workload }: SelectableWorkload): readonly string[] {
  return workload.spec.addresses.filter(isIdentifying);
}

function addTo<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  addAll(lists, key, [value]);
}

function addAll<K, V>(lists: Map<K, V[]>, key: K, values: readonly V[]): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [...values]);
  else list.push(...values);
}
