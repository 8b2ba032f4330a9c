/**
 * Modes: whether a policy enforces or audits a direction. The policy's own mode wins, then its namespace's, then the
 * cluster's. Pure.
 */
import type { Cluster, IdentityMode, NetworkPolicy, PolicyMode } from "../../model/objects.js";
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

export function modeOf(policy: NetworkPolicy, direction: Direction, objects: ObjectSet): PolicyMode {
  const { mode } = policy.spec;
  const own = typeof mode === "object" ? mode[direction] : mode;
  if (own !== undefined) return own;
  const found = objects.get(refKey({ kind: "Namespace", namespace: null, name: policy.metadata.namespace }))?.object;
  return (found?.kind === "Namespace" ? found.spec?.mode : undefined) ?? clusterOf(objects)?.spec?.mode ?? "enforce";
}

/** Returns how the sender of a connection is known. */
export function identityModeOf(objects: ObjectSet): IdentityMode {
  return clusterOf(objects)?.spec?.identity ?? "source";
}

/** Returns whether workloads prove who they are in their SYNs. */
export function hasSynIdentity(objects: ObjectSet): boolean {
  return identityModeOf(objects) === "syn";
}

function clusterOf(objects: ObjectSet): Cluster | undefined {
  const object = objects.get(CLUSTER_KEY)?.object;
  return object?.kind === "Cluster" ? object : undefined;
}
