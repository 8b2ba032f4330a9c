/**
 * The public API: the pure stages, for programs that read, plan and judge policies themselves; and
 * election, policy sync and enforcement over a store. See docs/api.md.
 */
export type * from "./model/objects.js";
export type * from "./model/state.js";
export type * from "./model/ruleset.js";
export type * from "./model/status.js";
export type { Diagnostic, Severity } from "./model/diagnostic.js";
export { hasErrors } from "./model/diagnostic.js";
export { readManifests } from "./manifest/read.js";
export type { Manifests } from "./manifest/read.js";
export { compile } from "./policy/compile/compile.js";
export { createEvaluator, evaluate } from "./policy/evaluate.js";
export type * from "./model/connection.js";
export { eachConnection, listConnections } from "./policy/reachability/connectivity.js";
export type { ConnectivityOptions } from "./policy/reachability/connectivity.js";
export { explain } from "./policy/explain.js";
export type {
  DecidingRule,
  End,
  Explanation,
  IsolatingPolicy,
  PairExplanation,
  Question,
  Side,
} from "./policy/explain.js";
export { diffConnectivity } from "./plan/connectivity/diff.js";
export type { ConnectivityDiff } from "./plan/connectivity/diff.js";
export { isUnchanged, planChanges } from "./plan/plan.js";
export type { Change, Plan } from "./plan/plan.js";
export { createEnforcer, createProcessDiscovery, openStore } from "./api/open.js";
export type { EnforcerOptions } from "./api/open.js";
export { createElection } from "./api/election.js";
export type { ElectionNode, LeaderElection, LeaderElectionOptions } from "./api/election.js";
export { createPolicySync } from "./api/policy-sync.js";
export type {
  PolicyInForce,
  PolicySync,
  PolicySyncOptions,
  SubscribeOptions,
  SyncOptions,
  WriteOptions,
  WrittenPolicy,
} from "./api/policy-sync.js";
export { createPolicyEnforcer } from "./api/policy-enforcer.js";
export type { DiscoveredWorkload, Discovery, PolicyEnforcer, PolicyEnforcerOptions } from "./api/policy-enforcer.js";
export type { PolicyListing, PolicyRow } from "./operations/policy/report.js";
export type { PolicyEvent } from "./operations/policy/watch.js";
export { OperationError } from "./model/operation-error.js";
export type { OperationErrorCode } from "./model/operation-error.js";
export type * from "./interfaces/discovery.js";
export type { Enforcer } from "./interfaces/enforcer.js";
export { EnforcerError } from "./interfaces/enforcer.js";
export type { Fence, Store } from "./interfaces/store.js";
export { StoreError } from "./interfaces/store.js";
export type { Clock, Logger, Random } from "./interfaces/system.js";
export type { Telemetry } from "./interfaces/telemetry.js";
