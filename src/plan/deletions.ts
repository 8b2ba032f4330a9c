/** Detects a state that deletes a large part of another, which an operator should review first. Pure. */
import type { ObjectRef } from "../model/objects.js";
import type { ObjectSet } from "../model/state.js";
import { refKey } from "../model/state.js";

export interface MassDeletion {
  /** The objects that are counted: the policies, or all objects together. */
  readonly what: "NetworkPolicies" | "objects";
  readonly deleted: number;
  readonly total: number;
}

/**
 * Returns a mass deletion: a share of the policies, or of all objects, that is larger than allowed. A single object is
 * never a mass deletion, however small the state, unless it was the last one. A renamed object is one deleted and
 * another created.
 * @param before the previous content: a revision's entries, or the names of a state's objects
 * @param maxPercent 100 allows every share
 */
export function massDeletion(
  desired: ObjectSet,
  before: readonly ObjectRef[],
  maxPercent: number,
): MassDeletion | null {
  const policies = before.filter(({ kind }) => kind === "NetworkPolicy");
  return excess("NetworkPolicies", policies, desired, maxPercent) ?? excess("objects", before, desired, maxPercent);
}

function excess(
  what: MassDeletion["what"],
  before: readonly ObjectRef[],
  desired: ObjectSet,
  maxPercent: number,
): MassDeletion | null {
  const total = before.length;
  const deleted = before.filter((ref) => !desired.has(refKey(ref))).length;
  const isMass = deleted > 1 || deleted === total;
  return isMass && deleted * 100 > total * maxPercent ? { what, deleted, total } : null;
}

/** Returns words for people: `4 of 5 NetworkPolicies`. */
export function describeDeletion({ what, deleted, total }: MassDeletion): string {
  return deleted === total ? `all ${total} ${what}` : `${deleted} of ${total} ${what}`;
}
