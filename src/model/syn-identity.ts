/** The identity of a workload in its SYNs: a number that all nodes derive from its name. It never changes: see ADR 21. */
import { createHash } from "node:crypto";

/**
 * Returns the identity of a Workload.
 * @param workload `namespace/name`
 * @returns an unsigned 32-bit number other than 0
 */
export function synIdentityOf(workload: string): number {
  return createHash("sha256").update(workload).digest().readUInt32LE() || 1;
}
