/**
 * ruleset × machine → drift: compares what the machine must hold with what it holds, and words the differences. Pure.
 */
import { diffKeyed } from "./keyed.js";
import type { KeyedDiff } from "../model/keyed-diff.js";
import type { DriftItem, DriftKind, SubjectStatus } from "../model/status.js";
import type { EnforcementItem, ItemSet, Observation } from "../interfaces/enforcer.js";

/**
 * Compares for an enforcer.
 * @param subjects which workloads could be enforced now; the others have no part in the difference
 */
export function compareItems(
  wanted: ItemSet,
  actual: ItemSet,
  subjects: readonly SubjectStatus[],
): Pick<Observation, "difference" | "subjects" | "isEnforcing"> {
  const absent = new Set(subjects.filter(({ state }) => state !== "Enforced").map(({ workload }) => workload));
  const present = (items: ItemSet): ItemSet =>
    absent.size === 0 ? items : new Map([...items].filter(([, item]) => !absent.has(item.workload ?? "")));
  const difference = diffKeyed(present(wanted), present(actual), (a, b) => a.value === b.value);
  return { difference, subjects: confirmSubjects(subjects, difference), isEnforcing: isEnforcing(actual, wanted) };
}

/** Where a backend attaches to each workload, records alone protect none. */
function isEnforcing(items: ItemSet, wanted: ItemSet): boolean {
  const isAttachment = ({ type, workload }: EnforcementItem): boolean => type === "link" && workload !== undefined;
  const attaches = [...wanted.values()].some(isAttachment);
  return [...items.values()].some((item) => (attaches ? isAttachment(item) : item.workload !== undefined));
}

/**
 * Returns the workloads that have another cgroup than before, as a restarted service has. A workload whose former cgroup
 * now belongs to another workload was not restarted: that cgroup still stands.
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

/** Leaves out what is missing because these workloads were restarted: a new cgroup has no programs yet. */
export function withoutRestarts(
  { missing, changed, extra }: KeyedDiff<EnforcementItem>,
  moved: ReadonlySet<string>,
): KeyedDiff<EnforcementItem> {
  return { missing: missing.filter(({ wanted }) => !moved.has(wanted.workload ?? "")), changed, extra };
}

/**
 * Returns whether the machine enforces this very ruleset, except for attachments: programs that were taken off or could
 * not be attached, and restarted workloads. All tables are in force then.
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

/** Limit for the message of one workload. */
const SHOWN_REASONS = 3;

/** A workload is Enforced only if its programs are attached and its records are right. */
function confirmSubjects(
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

/** Words the drift for the status: at most `limit` items, of which the last one counts the rest. */
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
