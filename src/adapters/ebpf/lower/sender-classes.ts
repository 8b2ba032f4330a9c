/**
 * Sender classes: for each address that a profile lets in as that of workloads, the clauses that match a sender by its
 * address alone, and those that match one who has proven to be one of these workloads.
 */
import type { Clause, Profile } from "../../../model/ruleset.js";
import { hostCidr } from "../../../model/ip.js";
import { synIdentityOf } from "../../../model/syn-identity.js";
import { coverClause, joinAll, type Coverage, type Effort } from "./coverage.js";
import { parsePrefix, type Prefix } from "./prefix.js";
import { walkClasses } from "./prefix-classes.js";

export interface SenderClass {
  readonly address: Prefix;
  /** 0: a sender without a proven identity. */
  readonly identity: number;
  /** Indexes of the clauses, ascending. */
  readonly clauses: readonly number[];
  readonly coverage: () => Coverage;
}

/** Yields the classes of every address of a workload that the profile names; none if senders prove nothing. */
export function* walkSenders(profile: Profile, effort: Effort): Generator<SenderClass> {
  const named = sendersByAddress(profile.clauses);
  if (named.size === 0) return;
  const coverage = (clauses: readonly number[]) => (): Coverage =>
    joinAll(
      clauses.flatMap((index) => {
        const clause = profile.clauses[index];
        return clause === undefined ? [] : [coverClause(clause, index, effort)];
      }),
      effort,
    );
  const byAddress = matchByAddress(profile, [...named.keys()]);
  for (const [text, senders] of named) {
    const address = parsePrefix(text);
    const base = byAddress.get(keyOf(address)) ?? [];
    yield { address, identity: 0, clauses: base, coverage: coverage(base) };
    for (const [workload, own] of senders) {
      const clauses = [...new Set([...base, ...own])].sort((a, b) => a - b);
      yield { address, identity: synIdentityOf(workload), clauses, coverage: coverage(clauses) };
    }
  }
}

/** By address and workload, the clauses that name the workload. */
function sendersByAddress(clauses: readonly Clause[]): ReadonlyMap<string, ReadonlyMap<string, readonly number[]>> {
  const named = new Map<string, Map<string, number[]>>();
  clauses.forEach(({ senders }, index) => {
    for (const { workload, addresses } of senders?.workloads ?? []) {
      for (const address of addresses) {
        const here = named.get(address) ?? new Map<string, number[]>();
        named.set(address, here);
        here.set(workload, [...(here.get(workload) ?? []), index]);
      }
    }
  });
  return named;
}

/** Returns the clauses that match each address whoever uses it: those without workloads, and the blocks of the others. */
function matchByAddress(profile: Profile, addresses: readonly string[]): ReadonlyMap<string, readonly number[]> {
  const marker = profile.clauses.length;
  const clauses = profile.clauses.map((clause) =>
    clause.senders === undefined ? clause : { ...clause, peers: clause.senders.blocks },
  );
  const marked: Clause = { rule: 0, peers: addresses.map(hostCidr), ports: "any" };
  const found = new Map<string, readonly number[]>();
  for (const one of walkClasses({ ...profile, clauses: [...clauses, marked] }, { runs: 0 }))
    if (one.clauses.includes(marker))
      found.set(
        keyOf(one.prefix),
        one.clauses.filter((index) => index !== marker),
      );
  return found;
}

const keyOf = ({ family, address }: Prefix): string => `${family}${address}`;
