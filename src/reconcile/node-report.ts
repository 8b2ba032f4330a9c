/** The words and figures with which a node reports its enforcement: problems, drift, restarted workloads. */
import { listDrift, movedWorkloads } from "../diff/drift.js";
import type { KeyedDiff } from "../model/keyed-diff.js";
import type { Revision } from "../model/state.js";
import type { DriftItem, DriftKind, SubjectStatus } from "../model/status.js";
import { describeWithholding, joinReasons, type WithheldWorkload } from "../model/withholding.js";
import type { Withheld } from "../policy/withhold.js";
import type { EnforcementItem } from "../interfaces/enforcer.js";
import type { Logger } from "../interfaces/system.js";
import type { Telemetry } from "../interfaces/telemetry.js";
import type { Target } from "./target.js";

/** Says that the state declares another backend: the plan then did not check what this one cannot enforce. */
function unexpectedBackend({ backend: declared }: Target, backend: string): string | null {
  if (declared === null || declared === backend || (backend !== "ebpf" && backend !== "pf")) return null;
  return `the Node says enforcement: ${declared}, and this agent enforces with ${backend}; correct the Node`;
}

/** Returns the reasons why the node is not in sync though it has not drifted; empty for none. */
export function describeProblems(target: Target, subjects: readonly SubjectStatus[], backend: string): string {
  const withheld = new Set(target.withholding?.workloads.map(({ workload }) => workload));
  return [
    target.undeclared,
    target.withholding === null ? null : describeWithholding(target.withholding),
    unexpectedBackend(target, backend),
    ...subjects
      .filter(({ workload, state }) => state === "Stalled" && !withheld.has(workload))
      .map(({ workload, message }) => `${workload}: ${message ?? "cannot be enforced"}`),
  ]
    .filter((reason) => reason !== null)
    .join("; ");
}

/** Counts and logs drift. @returns its words, for the status */
export function reportDrift(
  difference: KeyedDiff<EnforcementItem>,
  telemetry: Pick<Telemetry, "drift">,
  logger: Logger,
): readonly DriftItem[] {
  const count: Record<DriftKind, number> = {
    missing: 0,
    extra: difference.extra.length,
    changed: difference.changed.length,
    detached: 0,
  };
  for (const { wanted } of difference.missing) count[wanted.type === "link" ? "detached" : "missing"] += 1;
  for (const kind of ["missing", "extra", "changed", "detached"] as const) {
    if (count[kind] > 0) telemetry.drift(kind, count[kind]);
  }
  const drift = listDrift(difference);
  logger.warn("drift found", { drift });
  return drift;
}

/** Logs the workloads whose cgroup was made anew, or is gone. */
export function logMoves(before: readonly SubjectStatus[], now: readonly SubjectStatus[], logger: Logger): void {
  const known = new Map(before.map(({ workload, place }) => [workload, place]));
  for (const workload of movedWorkloads(before, now)) logger.info(`workload ${workload}: new cgroup attached`);
  for (const { workload, place } of now)
    if (place === undefined && known.get(workload) !== undefined)
      logger.info(`workload ${workload}: its cgroup is gone`);
}

/** Adds to withheld workloads the position of the policy, or of the workload, that would cut. */
export function locateWithheld({ entries }: Revision, workloads: readonly Withheld[]): readonly WithheldWorkload[] {
  return workloads.map(({ workload, reasons, policies, keeps }) => {
    const [kind, name] = policies[0] === undefined ? ["Workload", workload] : ["NetworkPolicy", policies[0]];
    const entry = entries.find((one) => one.kind === kind && `${one.namespace ?? ""}/${one.name}` === name);
    const { file, line } = entry?.position ?? {};
    const position = file === undefined || line === undefined ? {} : { file, line };
    return { workload, reason: joinReasons(reasons), ...position, keeps };
  });
}
