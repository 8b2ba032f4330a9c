/**
 * Guarded addresses: those that workloads of the node declare, all of them isolated at ingress. The kernel answers there only what the
 * policy of one of these workloads allows. Where one is open, or only audited, or is the host, it may answer anybody. Pure.
 */
import type { Ruleset, Subject } from "../../../model/ruleset.js";
import { ABI } from "../kernel/abi.generated.js";

/** Returns the keys of the ingress profiles that hold at each guarded address, sorted. */
export function guardAddresses({ subjects }: Pick<Ruleset, "subjects">): ReadonlyMap<string, readonly string[]> {
  const byAddress = new Map<string, Subject[]>();
  for (const subject of subjects) {
    for (const address of subject.addresses) {
      const sharing = byAddress.get(address);
      if (sharing === undefined) byAddress.set(address, [subject]);
      else sharing.push(subject);
    }
  }
  const guards = new Map<string, readonly string[]>();
  for (const [address, sharing] of byAddress) {
    if (sharing.some(({ isHost, ingress }) => isHost === true || ingress.mode !== "enforce")) continue;
    const profiles = [...new Set(sharing.flatMap(({ ingress }) => ingress.profile ?? []))].sort();
    if (profiles.length <= ABI.MAX_GUARD_PROFILES) guards.set(address, profiles);
  }
  return guards;
}

/** Returns the number of table entries that guards need: one for each profile of each different guard. */
export function countGuardEntries(guards: ReadonlyMap<string, readonly string[]>): number {
  const different = new Map([...guards.values()].map((profiles) => [profiles.join("|"), profiles.length]));
  return [...different.values()].reduce((total, one) => total + one, 0);
}
