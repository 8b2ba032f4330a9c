/** The public API: the pure stages, for programs that read, plan and judge policies themselves. */
export type * from "./model/objects.js";
export type * from "./model/state.js";
export type * from "./model/ruleset.js";
export type * from "./model/status.js";
export type { Diagnostic, Severity } from "./model/diagnostic.js";
export { hasErrors } from "./model/diagnostic.js";
export { readManifests } from "./manifest/read.js";
export type { Manifests } from "./manifest/read.js";
export { compile } from "./policy/compile.js";
export { createEvaluator, evaluate } from "./policy/evaluate.js";
export type * from "./model/connection.js";
export { eachConnection, listConnections } from "./policy/connectivity.js";
export type { ConnectivityOptions } from "./policy/connectivity.js";
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
export { diffConnectivity } from "./plan/connectivity.js";
export type { ConnectivityDiff } from "./plan/connectivity.js";
export { isUnchanged, planChanges } from "./plan/plan.js";
export type { Change, Plan } from "./plan/plan.js";
