/**
 * Modes: whether a policy enforces or audits a direction. The policy's own mode wins, then its namespace's, then the
 * cluster's. Pure.
 */
import type { NetworkPolicy, PolicyMode } from "../../model/objects.js";
import type { Direction } from "../../model/ruleset.js";
import { refKey, type ObjectSet } from "../../model/state.js";

/** The only name that the one Cluster object may have. */
const CLUSTER_NAME = "cluster";
const CLUSTER_KEY = refKey({ kind: "Cluster", namespace: null, name: CLUSTER_NAME });

/** The mode of each direction that the policy isolates; null for a direction that it does not isolate. */
export type PolicyModes = Readonly<Record<Direction, PolicyMode | null>>;

export function modesOf(policy: NetworkPolicy, objects: ObjectSet): PolicyModes {
  const { policyTypes } = policy.spec;
  return {
    ingress: policyTypes.includes("Ingress") ? modeOf(policy, "ingress", objects) : null,
    egress: policyTypes.includes("Egress") ? modeOf(policy, "egress", objects) : null,
  };
}

/** Returns whether workloads prove who they are in their SYNs. */
export function hasSynIdentity(objects: ObjectSet): boolean {
  const cluster = objects.get(CLUSTER_KEY)?.object;
  return cluster?.kind === "Cluster" && cluster.spec?.identity === "syn";
}

export function modeOf(policy: NetworkPolicy, direction: Direction, objects: ObjectSet): PolicyMode {
  const { mode } = policy.spec;
  const own = typeof mode === "object" ? mode[direction] : mode;
  if (own !== undefined) return own;
  const found = objects.get(refKey({ kind: "Namespace", namespace: null, name: policy.metadata.namespace }))?.object;
  const cluster = objects.get(CLUSTER_KEY)?.object;
  return (
    (found?.kind === "Namespace" ? found.spec?.mode : undefined) ??
    (cluster?.kind === "Cluster" ? cluster.spec?.mode : undefined) ??
    "enforce"
  );
}
