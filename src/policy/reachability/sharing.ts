/**
 * Sharing: which connections between workloads are allowed only by an address that one end shares with a workload that the
 * other end's rules name. Those connections were not meant. Pure.
 */
import type { SharedEnd } from "../../model/connection.js";
import type { Direction, Profile, Rule, Ruleset, Subject } from "../../model/ruleset.js";
import type { ObjectSet } from "../../model/state.js";
import { AddressParser, AddressSet } from "../address-space.js";
import { createMeaning } from "../meaning.js";
import { OwnerIndex } from "../owners.js";
import type { PortSetId, PortSets } from "./port-sets.js";

interface AllowingRule {
  readonly rule: Rule;
  readonly ports: PortSetId;
}

export class SharedAddresses {
  readonly #subjects: ReadonlyMap<string, Subject>;
  readonly #profiles: ReadonlyMap<string, Profile>;
  readonly #owners: OwnerIndex;
  readonly #meaning;
  readonly #parser = new AddressParser();
  readonly #peers = new Map<readonly string[], AddressSet>();
  readonly #rules = new Map<string, readonly AllowingRule[]>();

  constructor(
    objects: ObjectSet,
    ruleset: Ruleset,
    private readonly sets: PortSets,
  ) {
    this.#subjects = new Map(ruleset.subjects.map((subject) => [subject.workload, subject]));
    this.#profiles = new Map(ruleset.profiles.map((profile) => [profile.key, profile]));
    this.#owners = new OwnerIndex(objects);
    this.#meaning = createMeaning(objects);
  }

  /** Returns the ends of an allowed connection that rules do not mean; none if it is meant. */
  find(from: string, to: string, ports: PortSetId): readonly SharedEnd[] {
    return [...this.#unmeant(from, "egress", to, ports), ...this.#unmeant(to, "ingress", from, ports)];
  }

  #unmeant(own: string, direction: Direction, peer: string, ports: PortSetId): readonly SharedEnd[] {
    const others = this.#owners.sharingWith(peer);
    if (others.length === 0) return [];
    const { mode, profile } = this.#subjects.get(own)?.[direction] ?? { mode: "open", profile: null };
    if (mode !== "enforce" || profile === null) return [];
    const rules = this.#rulesFor(profile, peer).filter(
      (one) => this.sets.intersect(one.ports, ports) !== this.sets.empty,
    );
    if (rules.some(({ rule }) => this.#meaning.means(rule, peer))) return [];
    const named = others.filter((other) => rules.some(({ rule }) => this.#meaning.means(rule, other)));
    return named.length === 0 ? [] : [{ workload: peer, with: named }];
  }

  #rulesFor(key: string, peer: string): readonly AllowingRule[] {
    const name = `${key} ${peer}`;
    const known = this.#rules.get(name);
    if (known !== undefined) return known;
    const profile = this.#profiles.get(key);
    const addresses = (this.#subjects.get(peer)?.addresses ?? []).map((text) => this.#parser.parse(text));
    const rules = (profile?.clauses ?? []).flatMap(({ rule: index, peers, ports, effect }): readonly AllowingRule[] => {
      const rule = index === null || effect === "deny" ? undefined : profile?.rules[index];
      const matches = peers === "any" || addresses.some((address) => this.#setOf(peers).has(address));
      return rule === undefined || !matches ? [] : [{ rule, ports: this.sets.of(ports) }];
    });
    this.#rules.set(name, rules);
    return rules;
  }

  #setOf(peers: readonly string[]): AddressSet {
    const set = this.#peers.get(peers) ?? new AddressSet(peers.map((cidr) => this.#parser.parse(cidr)));
    this.#peers.set(peers, set);
    return set;
  }
}
