/** Pending workloads: declared, and not there. */
import type { SubjectStatus } from "./status.js";

export interface PendingWorkload {
  /** `namespace/name`. */
  readonly workload: string;
  readonly message: string;
}

/** Returns the workloads that are to be enforced as soon as they exist. */
export function listPending(subjects: readonly SubjectStatus[]): readonly PendingWorkload[] {
  return subjects.flatMap(({ workload, state, message }) =>
    state === "Pending" ? [{ workload, message: message ?? "it does not exist yet" }] : [],
  );
}
