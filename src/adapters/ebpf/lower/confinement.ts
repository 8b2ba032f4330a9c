/** Confinement: which directions of a workload let nothing pass beside the packets that its programs decide. */
import type { Profile, Subject, SubjectDirection } from "../../../model/ruleset.js";
import { ABI } from "../kernel/abi.generated.js";

/**
 * Returns the workload's bits of enum ztap_confinement: 0 if nothing is refused to it. A direction is confined if it is enforced and
 * does not allow everything.
 */
export function confinementOf(
  { ingress, egress, tolerates = [], override }: Subject,
  profiles: ReadonlyMap<string, Profile>,
): number {
  const isConfined = ({ mode, profile }: SubjectDirection): boolean =>
    override?.kind === "quarantine" || (mode === "enforce" && !allowsAll(profile));
  const allowsAll = (profile: string | null): boolean =>
    profiles.get(profile ?? "")?.clauses.some(({ peers, ports }) => peers === "any" && ports === "any") === true;
  const bits = (isConfined(ingress) ? ABI.CONFINED_INGRESS : 0) | (isConfined(egress) ? ABI.CONFINED_EGRESS : 0);
  return bits === 0 || tolerates.includes("InheritedSockets") ? bits : bits | ABI.OWN_SOCKETS_ONLY;
}
