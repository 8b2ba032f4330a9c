/**
 * Escapes: workloads that policy isolates, and whose processes act outside of their programs: by sockets of other cgroups, or
 * since a user can move them to another cgroup.
 */
import type { Escape } from "../../../interfaces/enforcer.js";
import type { SubjectStatus } from "../../../model/status.js";
import { Delegation } from "./delegation.js";
import type { Confined, ForeignSockets } from "./foreign-sockets.js";
import type { Located } from "./locate.js";

export function findEscapes(
  cgroupRoot: string,
  confined: Confined,
  { present }: Located,
  sockets: ForeignSockets,
): readonly Escape[] {
  const counts = sockets.counts(confined);
  const delegation = new Delegation(cgroupRoot);
  return present.flatMap(({ workload, id, path, subject }): readonly Escape[] => {
    if ((confined.get(id) ?? 0) === 0) return [];
    const tolerates = (kind: Escape["kind"]): boolean => subject.tolerates?.includes(kind) === true;
    const escapes: Escape[] = [];
    const count = counts.get(id) ?? 0;
    if (count > 0) {
      const isTolerated = tolerates("InheritedSockets");
      const what =
        count === 1 ? "a socket that belongs to another cgroup" : `${count} sockets that belong to other cgroups`;
      const detail = `its processes have ${what}: policy does not hold for it${isTolerated ? "" : ", so that its packets are refused"}`;
      escapes.push({ workload, kind: "InheritedSockets", isTolerated, detail });
    }
    const delegated = delegation.above(path);
    if (delegated !== null) {
      const who = delegated.user === "others" ? "users other than root" : `user ${delegated.user}`;
      const detail = `${who} can move its processes out of its cgroup, since they can write to ${delegated.cgroup}`;
      escapes.push({ workload, kind: "DelegatedCgroup", isTolerated: tolerates("DelegatedCgroup"), detail });
    }
    return escapes;
  });
}

/** Stalls the workloads that have an escape which they do not tolerate. */
export function withEscapes(statuses: readonly SubjectStatus[], escapes: readonly Escape[]): readonly SubjectStatus[] {
  return statuses.map((status) => {
    const own = escapes.filter(({ workload }) => workload === status.workload);
    if (status.state !== "Enforced" || own.length === 0) return status;
    const refused = own.filter(({ isTolerated }) => !isTolerated);
    const words = ({ kind, detail }: Escape): string => `${detail} (spec.tolerates: [${kind}] would allow it)`;
    if (refused.length > 0) return { ...status, state: "Stalled", message: refused.map(words).join("; ") };
    return { ...status, message: own.map(({ detail }) => `tolerated: ${detail}`).join("; ") };
  });
}
