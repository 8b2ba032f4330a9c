/** Names of NetworkSets for blocks of addresses: which sets, that rules of one end name, hold addresses of a block. */
import type { Peer } from "../../model/objects.js";
import type { Direction, Rule, Ruleset } from "../../model/ruleset.js";
import { refKey, type ObjectSet } from "../../model/state.js";
import { AddressParser, AddressSet, type Interval } from "../address-space.js";
import { NetworkSetIndex } from "../compile/network-sets.js";

/** Returns the names of sets, sorted. */
export interface SetNames {
  /** The sets of the rules of a subject's direction that hold an address of the block. */
  of(subject: number, direction: Direction, block: Interval): readonly string[];
  /** The sets of one rule that hold the address. */
  ofRule(rule: Rule, address: string): readonly string[];
}

interface NamedSet {
  readonly name: string;
  readonly addresses: AddressSet;
}

export function createSetNames(objects: ObjectSet, ruleset: Ruleset): SetNames {
  const sets = new NetworkSetIndex(objects);
  if (sets.isEmpty) return { of: () => [], ofRule: () => [] };
  const parser = new AddressParser();
  const profiles = new Map(ruleset.profiles.map((profile) => [profile.key, profile]));
  const parsed = new Map<string, NamedSet>();
  const byProfile = new Map<string, readonly NamedSet[]>();
  const byRule = new Map<string, readonly NamedSet[]>();
  const setsOf = (rules: readonly Rule[]): readonly NamedSet[] => {
    const named = new Map<string, NamedSet>();
    for (const set of rules.flatMap((rule) => rulePeers(rule, objects)).flatMap((peer) => sets.setsOf(peer))) {
      const { name } = set.metadata;
      const one = parsed.get(name) ?? {
        name,
        addresses: new AddressSet(set.spec.cidrs.map((cidr) => parser.parse(cidr))),
      };
      parsed.set(name, one);
      named.set(name, one);
    }
    return [...named.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  };
  const namesOf = (candidates: readonly NamedSet[], block: Interval): readonly string[] =>
    candidates.filter(({ addresses }) => addresses.meets(block)).map(({ name }) => name);
  return {
    of: (subject, direction, block) => {
      const key = ruleset.subjects[subject]?.[direction].profile ?? "";
      const found = byProfile.get(key) ?? setsOf(profiles.get(key)?.rules ?? []);
      byProfile.set(key, found);
      return namesOf(found, block);
    },
    ofRule: (rule, address) => {
      const found = byRule.get(rule.key) ?? setsOf([rule]);
      byRule.set(rule.key, found);
      return namesOf(found, parser.parse(address));
    },
  };
}

/** Returns the peers of a rule as its policy has them. */
export function rulePeers({ policy, direction, index }: Rule, objects: ObjectSet): readonly Peer[] {
  const object = objects.get(refKey({ kind: "NetworkPolicy", ...policy }))?.object;
  if (object?.kind !== "NetworkPolicy") return [];
  return (direction === "ingress" ? object.spec.ingress?.[index]?.from : object.spec.egress?.[index]?.to) ?? [];
}
