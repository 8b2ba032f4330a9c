/** Telemetry: events of the loops. Adapters turn them into metrics. Never throws. */
import type { DriftKind, StoreHealth } from "../model/status.js";
import type { RolloutState } from "../model/rollout.js";
import type { Escape, RefusalTotal } from "./enforcer.js";
import type { EventStatistics } from "./flows.js";

export interface Telemetry {
  /** A revision was committed by this process. */
  committed(event: { readonly revision: number; readonly policies: number; readonly durationMs: number }): void;
  /** A commit of the source was refused. */
  rejected(event: { readonly reason: "invalid" | "lockout" | "held" | "unverified" | "too-large" }): void;
  /** The tip of the source is no descendant of the commit that was accepted last. */
  rewritten(): void;
  /** Whether this node leads and must not commit anything from the source. */
  suspended(isSuspended: boolean): void;
  sourceError(): void;
  storeError(): void;
  /** How the servers of the store are that answered. */
  storeHealth(servers: readonly StoreHealth[]): void;
  /** When the certificates expire with which this agent reaches its store; negative once one has. */
  certificates(all: readonly { readonly setting: string; readonly secondsLeft: number }[]): void;
  head(revision: number | null): void;
  /** The rollout of head, as the leader sees it; null if there is none, or if this node does not lead. */
  rollout(rollout: { readonly state: RolloutState; readonly wave: number; readonly released: number } | null): void;
  /** How many parts of the nodes' endpoints do not count. */
  refusedEndpoints(count: number): void;
  /** How much of this machine cannot be searched for the processes of workloads. */
  discoveryProblems(count: number): void;
  /** How many newborn containers are closed, since it is not known whose they are. */
  unidentifiedContainers(count: number): void;
  /** The versions in head. */
  policyVersions(
    versions: readonly { readonly namespace: string; readonly name: string; readonly version: number }[],
  ): void;
  /** A receiver was told what became of a commit. */
  delivered(): void;
  /** A receiver was not told, and is told later. */
  deliveryFailed(): void;
  /** Events that receivers are not told any more. */
  deliveriesLost(events: number): void;
  /** Events that wait, and for how long the oldest has. */
  deliveriesPending(waiting: { readonly events: number; readonly oldestMs: number }): void;
  /** A Git host has said that something was pushed; or somebody else, who did not know the secret, or came too often. */
  pollRequested(event: { readonly outcome: "accepted" | "refused" | "limited" }): void;
  leader(isLeader: boolean): void;
  elected(): void;
  /** The node's tables were changed and now match. */
  enforced(event: { readonly policies: number; readonly durationMs: number }): void;
  /** The node's tables were observed to hold this revision. */
  inForce(revision: number): void;
  stalled(isStalled: boolean): void;
  /** How many workloads of this node head is withheld from. */
  withheld(workloads: number): void;
  /** How many overrides hold over workloads of this node. */
  overrides(count: number): void;
  /** How many workloads of this node do not exist yet, so that nothing of them is enforced. */
  pending(workloads: number): void;
  /** Whether the state knows this node. */
  undeclared(isUndeclared: boolean): void;
  drift(kind: DriftKind, items: number): void;
  healed(items: number): void;
  /** All escapes of workloads on this node now. */
  escapes(all: readonly Pick<Escape, "kind" | "isTolerated">[]): void;
  /** The totals since the tables were made. */
  refusals(totals: readonly RefusalTotal[]): void;
  packets(totals: readonly { readonly direction: string; readonly verdict: string; readonly packets: bigint }[]): void;
  /** The totals of the event statistics. */
  flows(statistics: EventStatistics): void;
}
