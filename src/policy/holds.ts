/** Which workload decides about the processes of a cgroup. */
import type { Ruleset, Subject } from "../model/ruleset.js";

/** Returns whether a cgroup is the other one, or contains it. */
export function holds(cgroup: string | null, inner: string): boolean {
  return cgroup !== null && (cgroup === "" || inner === cgroup || inner.startsWith(`${cgroup}/`));
}

/**
 * Returns whether the subject's policy may decide about one of these cgroups. The host has what no other workload has, and those that
 * are not known.
 */
export function mayDecide(
  { subjects }: Pick<Ruleset, "subjects">,
  { cgroup, isHost }: Subject,
  cgroups: readonly string[],
): boolean {
  if (isHost !== true) return cgroups.some((inner) => holds(cgroup, inner));
  return cgroups.length === 0 || cgroups.some((inner) => !subjects.some((other) => holds(other.cgroup, inner)));
}
