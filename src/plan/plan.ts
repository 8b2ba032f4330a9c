/**
 * Compares the desired with the committed state and returns the plan: the changes that a commit would make. `ztap
 * plan`, `ztap apply` and the leader call the same function; their later steps use only its result.
 */
import { diffKeyed } from "../diff/keyed.js";
import type { ObjectRef, ZtapObject } from "../model/objects.js";
import type { CommittedState, DesiredState, ObjectSet, Revision, SourceRef, StateObject } from "../model/state.js";
import { refKey } from "../model/state.js";

export type ChangeAction = "create" | "update" | "delete";

export interface Change {
  readonly action: ChangeAction;
  readonly ref: ObjectRef;
  readonly before: ZtapObject | null;
  readonly after: ZtapObject | null;
  /** Position of the object in the source; null for one that is deleted. */
  readonly position: { readonly file: string; readonly line: number } | null;
}

export interface Plan {
  /** The head that this plan was made against; applying it to another head is refused as stale. */
  readonly base: number | null;
  /**
   * The commit that replaces head as the base: such a plan is for reading only, and belongs to no store. Null with a
   * store.
   */
  readonly against: SourceRef | null;
  readonly source: SourceRef;
  /** By kind, namespace and name. */
  readonly changes: readonly Change[];
  readonly summary: { readonly create: number; readonly update: number; readonly delete: number };
}

/**
 * Compares with the state in force.
 * @param base the state in force; null for an empty store
 */
export function planChanges(desired: DesiredState, base: CommittedState | null): Plan {
  const objects = base?.objects ?? new Map<string, never>();
  return { base: base?.revision.number ?? null, against: null, ...compareStates(desired, objects) };
}

/**
 * Compares with the state at another commit.
 * @param base the state at that commit
 */
export function planAgainst(desired: DesiredState, base: DesiredState): Plan {
  return { base: null, against: base.source, ...compareStates(desired, base.objects) };
}

function compareStates(desired: DesiredState, base: ObjectSet): Pick<Plan, "source" | "changes" | "summary"> {
  const diff = diffKeyed<StateObject>(desired.objects, base, (wanted, actual) => wanted.digest === actual.digest);
  const changes: Change[] = [
    ...diff.missing.map(({ wanted }) => toChange("create", wanted.ref, null, wanted)),
    ...diff.changed.map(({ wanted, actual }) => toChange("update", wanted.ref, actual.object, wanted)),
    ...diff.extra.map(({ actual }) => toChange("delete", actual.ref, actual.object, null)),
  ].sort((a, b) => (refKey(a.ref) < refKey(b.ref) ? -1 : 1));
  return {
    source: desired.source,
    changes,
    summary: { create: diff.missing.length, update: diff.changed.length, delete: diff.extra.length },
  };
}

function toChange(
  action: ChangeAction,
  ref: ObjectRef,
  before: ZtapObject | null,
  after: { readonly object: ZtapObject; readonly position?: { readonly file: string; readonly line: number } } | null,
): Change {
  const position = after?.position === undefined ? null : { file: after.position.file, line: after.position.line };
  return { action, ref, before, after: after?.object ?? null, position };
}

/**
 * Returns whether a desired state equals the content of a revision. Needs only the revision's manifest, not the
 * objects.
 */
export function isUnchanged(desired: DesiredState, revision: Revision | null): boolean {
  const entries = new Map((revision?.entries ?? []).map((entry) => [refKey(entry), entry.digest]));
  if (entries.size !== desired.objects.size) return false;
  for (const [key, { digest }] of desired.objects) {
    if (entries.get(key) !== digest) return false;
  }
  return true;
}
