/**
 * Override: an operator's order that holds over policy, for a time, whatever the revision says. See docs/adr/0028-overrides.md.
 */

import { instantOf } from "./guards.js";

/** `quarantine`: nothing passes. `breakglass`: policy refuses nothing. */
export const OVERRIDE_KINDS = ["quarantine", "breakglass"] as const;
export type OverrideKind = (typeof OVERRIDE_KINDS)[number];

/** All workloads of a node, or one workload, `namespace/name`, wherever it runs. */
export type OverrideTarget = { readonly node: string } | { readonly workload: string };

export interface Override {
  /** Unique in a store. */
  readonly id: string;
  readonly kind: OverrideKind;
  readonly target: OverrideTarget;
  /** The operator, `user@host`. */
  readonly by: string;
  readonly reason: string;
  /** RFC 3339, UTC. */
  readonly since: string;
  /** RFC 3339, UTC, in whole seconds. */
  readonly until: string;
  /** Who ended it before its time, and when; absent: nobody. */
  readonly ended?: { readonly by: string; readonly at: string };
}

/** How many may be in force at a time: the kernel has a timer for each end. */
export const MOST_OVERRIDES = 64;

/** How many that have ended are kept, as a record. */
export const MOST_ENDED = 200;

/** @param now milliseconds since 1970 */
export function isOverriding({ until, ended }: Override, now: number): boolean {
  return ended === undefined && instantOf(until) > now;
}

/** Returns `node web-1` or `workload demo/web`. */
export function describeTarget(target: OverrideTarget): string {
  return "node" in target ? `node ${target.node}` : `workload ${target.workload}`;
}
