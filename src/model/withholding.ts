/** Withholding: the workloads for which a node does not enforce a revision, since that would cut its management access. */
import type { Ruleset } from "./ruleset.js";
import type { SubjectStatus } from "./status.js";

/** A workload of a revision whose policy is not in force on its node, though the rest of the revision is. */
export interface WithheldWorkload {
  /** `namespace/name`, as the revision names it. */
  readonly workload: string;
  /** A sentence: the connections that its policy would cut. */
  readonly reason: string;
  /** Position of the first policy that would cut, or of the workload if its cgroup would; absent if it is not known. */
  readonly file?: string;
  readonly line?: number;
  /**
   * The workloads whose earlier policy stays in force in its place, `namespace/name`: itself, or those that had its
   * cgroup, one around it or one in it. Empty: nothing was in force there, and nothing is.
   */
  readonly keeps: readonly string[];
}

/** What a node enforces in the place of a part of a revision. */
export interface Withholding {
  /** Sorted by workload; not empty. */
  readonly workloads: readonly WithheldWorkload[];
  /** Subjects that stay in force, and their profiles, as they were compiled from the revision that brought them. */
  readonly kept: Pick<Ruleset, "subjects" | "profiles">;
  /** Sentences: management connections that the policy in force denies, so that nothing is left to withhold. */
  readonly remaining: readonly string[];
  /** The last revision that was in force as a whole; null if there was none. */
  readonly enforcedRevision: number | null;
}

/** Says what is withheld, and why. */
export function describeWithholding({ workloads, remaining }: Withholding): string {
  const cut = remaining.length === 0 ? "" : `; ${describeRemaining(remaining)}`;
  return `${workloads.map(describeWithheld).join("; ")}${cut}; all other workloads follow; allowLockout enforces it all the same`;
}

export function describeRemaining(remaining: readonly string[]): string {
  return `already cut by the policy in force: ${joinReasons(remaining)}`;
}

/** Limit for one workload: somebody may open any number of sessions. */
const SHOWN_REASONS = 3;

export function joinReasons(reasons: readonly string[]): string {
  const more = reasons.length > SHOWN_REASONS ? [`and ${reasons.length - SHOWN_REASONS} more`] : [];
  return [...reasons.slice(0, SHOWN_REASONS), ...more].join("; ");
}

function describeWithheld({ workload, reason, file, line, keeps }: WithheldWorkload): string {
  const where = file === undefined ? "" : ` (${file}:${line ?? "?"})`;
  const others = keeps.filter((name) => name !== workload);
  const instead =
    keeps.length === 0
      ? "it has no policy in force"
      : others.length === 0
        ? "it keeps the policy that it had"
        : `the policy of ${others.join(", ")} stays in force there`;
  return `not enforced for ${workload}, since it would lock out: ${reason}${where}; ${instead}`;
}

/** A withheld workload is enforced by an earlier policy, or not at all: it is Stalled, with the reason. */
export function markWithheld(
  subjects: readonly SubjectStatus[],
  withholding: Withholding | null,
): readonly SubjectStatus[] {
  if (withholding === null) return subjects;
  const reasons = new Map(withholding.workloads.map((one) => [one.workload, describeWithheld(one)]));
  const known = new Set(subjects.map(({ workload }) => workload));
  const missing = [...reasons.keys()].filter((workload) => !known.has(workload)).map((workload) => ({ workload }));
  return [...subjects, ...missing]
    .map((subject): SubjectStatus => {
      const message = reasons.get(subject.workload);
      return message === undefined && "state" in subject
        ? subject
        : { ...subject, state: "Stalled", message: message ?? "" };
    })
    .sort((a, b) => (a.workload < b.workload ? -1 : 1));
}
