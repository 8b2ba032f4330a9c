/**
 * Guarded addresses: what may enter at an address that workloads of the node declare, before the host's own stack answers: what the
 * policy of any of them allows. Pure.
 *
 * An address is guarded if policy isolates the ingress of every workload that declares it. Where one is open, or only audited, the
 * stack may answer anybody.
 */
import type { Clause, Profile, Rule, Ruleset, Subject } from "../../../model/ruleset.js";

export interface GuardedAddresses {
  /** Key of the profile, by address. */
  readonly profiles: ReadonlyMap<string, string>;
  /** Profiles that join those of several workloads. */
  readonly joined: readonly Profile[];
}

/** Workloads with more different profiles at one address leave it unguarded: their join would be larger than it is useful. */
const MOST_PROFILES = 64;

export function guardAddresses({ subjects, profiles }: Ruleset): GuardedAddresses {
  const byKey = new Map(profiles.map((profile) => [profile.key, profile]));
  const byAddress = new Map<string, Subject[]>();
  for (const subject of subjects) {
    for (const address of subject.addresses) {
      const sharing = byAddress.get(address);
      if (sharing === undefined) byAddress.set(address, [subject]);
      else sharing.push(subject);
    }
  }
  const guards = new Map<string, string>();
  const joined = new Map<string, Profile>();
  for (const [address, sharing] of byAddress) {
    if (sharing.some(({ ingress }) => ingress.mode !== "enforce")) continue;
    const parts = [...new Set(sharing.flatMap(({ ingress }) => byKey.get(ingress.profile ?? "") ?? []))];
    const [only] = parts;
    if (only === undefined || parts.length > MOST_PROFILES) continue;
    const profile = parts.length === 1 ? only : joinProfiles(parts);
    if (parts.length > 1) joined.set(profile.key, profile);
    guards.set(address, profile.key);
  }
  return { profiles: guards, joined: [...joined.values()] };
}

/** By the first part. Profiles are immutable: the same parts give the same object, which is lowered once. */
const known = new WeakMap<Profile, { readonly parts: readonly Profile[]; readonly profile: Profile }[]>();

/** Returns a profile that allows what any of them does. */
function joinProfiles(parts: readonly Profile[]): Profile {
  const [first] = parts;
  if (first === undefined) throw new TypeError("there is no profile to join");
  const before = known.get(first) ?? [];
  const found = before.find(
    (one) => one.parts.length === parts.length && one.parts.every((part, at) => part === parts[at]),
  );
  if (found !== undefined) return found.profile;
  const rules: Rule[] = [];
  const clauses: Clause[] = [];
  for (const part of parts) {
    for (const clause of part.clauses) clauses.push({ ...clause, rule: clause.rule + rules.length });
    rules.push(...part.rules);
  }
  const profile: Profile = { key: parts.map(({ key }) => key).join("|"), direction: "ingress", rules, clauses };
  known.set(first, [...before.slice(-MOST_PROFILES), { parts, profile }]);
  return profile;
}
