/** Log and metrics for a program that passes none of its own. */
import type { Logger } from "../interfaces/system.js";
import type { Telemetry } from "../interfaces/telemetry.js";

const nothing = (): void => undefined;

export const quietLogger: Logger = { debug: nothing, info: nothing, warn: nothing, error: nothing };

export const quietTelemetry: Telemetry = {
  committed: nothing,
  rejected: nothing,
  rewritten: nothing,
  suspended: nothing,
  sourceError: nothing,
  storeError: nothing,
  storeHealth: nothing,
  certificates: nothing,
  head: nothing,
  rollout: nothing,
  policyVersions: nothing,
  delivered: nothing,
  deliveryFailed: nothing,
  deliveriesLost: nothing,
  deliveriesPending: nothing,
  pollRequested: nothing,
  leader: nothing,
  elected: nothing,
  enforced: nothing,
  inForce: nothing,
  stalled: nothing,
  escapes: nothing,
  refusals: nothing,
  withheld: nothing,
  overrides: nothing,
  refusedEndpoints: nothing,
  pending: nothing,
  undeclared: nothing,
  discoveryProblems: nothing,
  unidentifiedContainers: nothing,
  drift: nothing,
  healed: nothing,
  packets: nothing,
  flows: nothing,
};
