/**
 * ruleset × observed state → drift: what the machine must hold, against what it really holds.
 * Pure. Workloads that are not enforceable at present (no cgroup yet) are no drift: nothing of
 * theirs can be missing.
 */
import type { KeyedDiff } from "./keyed.js";
import { diffKeyed } from "./keyed.js";
import type { DriftItem, DriftKind, SubjectStatus } from "../model/status.js";
import type { EnforcementItem, ItemSet, Observation } from "../interfaces/enforcer.js";

export function diffEnforcement(wanted: ItemSet, observation: Observation): KeyedDiff<EnforcementItem> {
  const absent = new Set(
    observation.subjects.filter(({ state }) => state !== "Enforced").map(({ workload }) => workload),
  );
  const present = (items: ItemSet): ItemSet =>
    absent.size === 0 ? items : new Map([...items].filter(([, item]) => !absent.has(item.workload ?? "")));
  return diffKeyed(present(wanted), present(observation.items), (a, b) => a.value === b.value);
}

/**
 * Workloads whose cgroup is another one than it was, as that of a service which was restarted. One whose cgroup is
 * another workload's now has not been restarted: its cgroup still stands.
 */
export function movedWorkloads(before: readonly SubjectStatus[], now: readonly SubjectStatus[]): ReadonlySet<string> {
  const known = new Map(before.map((subject) => [subject.workload, subject]));
  const standing = new Set(now.map(({ place }) => place));
  const isMoved = ({ workload, place }: SubjectStatus): boolean => {
    const last = known.get(workload);
    if (place === undefined || last === undefined) return false;
    return last.place === undefined ? last.state === "Pending" : !standing.has(last.place);
  };
  return new Set(now.filter(isMoved).map(({ workload }) => workload));
}

/**
 * Leaves out what a restart of these workloads explains: their new cgroups have nothing yet. What is there and is wrong,
 * or should not be there, no restart has made.
 */
export function withoutRestarts(
  { missing, changed, extra }: KeyedDiff<EnforcementItem>,
  moved: ReadonlySet<string>,
): KeyedDiff<EnforcementItem> {
  return { missing: missing.filter(({ wanted }) => !moved.has(wanted.workload ?? "")), changed, extra };
}

/**
 * Whether the machine holds this very ruleset, and lacks nothing but attachments: programs that were taken off or could not
 * be attached, and workloads that were started again. All tables are in force then.
 */
export function lacksOnlyAttachments({ missing, changed, extra }: KeyedDiff<EnforcementItem>): boolean {
  const isAttachment = ({ type }: EnforcementItem): boolean => type === "link";
  // A cgroup to which nothing is attached has no record either.
  const bare = new Set(missing.flatMap(({ wanted }) => (isAttachment(wanted) ? [wanted.workload] : [])));
  return (
    missing.every(
      ({ wanted }) => isAttachment(wanted) || (wanted.workload !== undefined && bare.has(wanted.workload)),
    ) &&
    changed.every(({ wanted }) => isAttachment(wanted)) &&
    extra.every(({ actual }) => isAttachment(actual))
  );
}

/** How many reasons stand in a workload's message. */
const SHOWN_REASONS = 3;

/** A workload is Enforced where its programs are attached and its records are right, and not because it could be. */
export function confirmSubjects(
  subjects: readonly SubjectStatus[],
  { missing, changed }: KeyedDiff<EnforcementItem>,
): readonly SubjectStatus[] {
  const reasons = new Map<string, string[]>();
  const add = (item: EnforcementItem, { detail }: DriftItem): void => {
    if (item.workload === undefined) return;
    reasons.set(item.workload, [...(reasons.get(item.workload) ?? []), detail]);
  };
  for (const { wanted } of missing) add(wanted, missingItem(wanted));
  for (const { wanted, actual } of changed) add(wanted, toDrift("changed", wanted, actual));
  return subjects.map((subject) => {
    const found = reasons.get(subject.workload);
    if (subject.state !== "Enforced" || found === undefined) return subject;
    const more = found.length > SHOWN_REASONS ? [`and ${found.length - SHOWN_REASONS} more`] : [];
    return { ...subject, state: "Stalled", message: [...found.slice(0, SHOWN_REASONS), ...more].join("; ") };
  });
}

/** Drift as it is reported, at most `limit` items; the last one then tells how many more there are. */
export function listDrift(diff: KeyedDiff<EnforcementItem>, limit = 100): readonly DriftItem[] {
  const items = [
    ...diff.missing.map(({ wanted }) => missingItem(wanted)),
    ...diff.changed.map(({ wanted, actual }) => toDrift("changed", wanted, actual)),
    ...diff.extra.map(({ actual }) => toDrift("extra", actual)),
  ];
  if (items.length <= limit) return items;
  return [
    ...items.slice(0, limit - 1),
    { kind: "changed", detail: `and ${items.length - limit + 1} more differences` },
  ];
}

const PHRASES: Readonly<Record<DriftKind, string>> = {
  missing: "is missing",
  extra: "should not be there",
  changed: "is not what it should be",
  detached: "is not attached",
};

function missingItem(wanted: EnforcementItem): DriftItem {
  return toDrift(wanted.type === "link" ? "detached" : "missing", wanted);
}

function toDrift(kind: DriftKind, item: EnforcementItem, actual?: EnforcementItem): DriftItem {
  const found = actual === undefined ? "" : ` (wanted ${item.value}, found ${actual.value})`;
  return {
    kind,
    detail: `${item.label} ${PHRASES[kind]}${found}`,
    ...(item.workload === undefined ? {} : { workload: item.workload }),
    ...(item.policies === undefined ? {} : { policies: item.policies }),
  };
}
