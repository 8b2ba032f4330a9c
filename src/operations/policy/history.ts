/** The versions of a policy that the revisions which are kept have. */
import type { Revision } from "../../model/state.js";
import type { Store } from "../../interfaces/store.js";
import { policyRows, unknownPolicy, type PolicyId, type PolicyRow } from "./report.js";
import { eachRevision } from "./revisions.js";

/** One version of a policy. Fields that only the committing revision knows are null if that revision was pruned. */
export interface PolicyVersion extends Omit<PolicyRow, "revision"> {
  readonly revision: number | null;
  readonly action: "created" | "updated" | "deleted" | null;
  readonly author: string | null;
  readonly reason: string | null;
  /** First line of the commit's message; null also without a commit. */
  readonly subject: string | null;
}

export interface PolicyHistory {
  /** Newest first, including deletions. */
  readonly versions: readonly PolicyVersion[];
  /** Whether there were older versions, which the store no longer keeps. */
  readonly pruned: boolean;
}

/**
 * Returns every version of a policy that is still kept.
 * @throws OperationError `not-found`
 */
export async function readHistory(store: Store, id: PolicyId): Promise<PolicyHistory> {
  const versions: PolicyVersion[] = [];
  let later: { readonly row: PolicyRow | null; readonly revision: Revision } | null = null;
  for await (const revision of eachRevision(store)) {
    const row =
      policyRows(revision).find(({ namespace, name }) => namespace === id.namespace && name === id.name) ?? null;
    if (later !== null) versions.push(...committedBy(later.revision, later.row, row));
    later = { row, revision };
  }
  // The oldest revision that is kept: the version before it is known only if nothing was pruned.
  if (later !== null && later.row !== null) {
    versions.push(
      later.revision.parent === null
        ? toVersion(later.row, later.revision, "created")
        : firstKept(later.row, later.revision),
    );
  }
  if (versions.length === 0) throw await unknownPolicy(store, id);
  return { versions, pruned: (versions.at(-1)?.version ?? 1) > 1 };
}

/** Returns the change that a revision made to the policy. */
function committedBy(revision: Revision, row: PolicyRow | null, before: PolicyRow | null): readonly PolicyVersion[] {
  if (row === null) {
    if (before === null) return [];
    const { number, time, node, source } = revision;
    const gone = { ...before, revision: number, commit: source.commit, updatedAt: time, sourceNode: node };
    return [toVersion(gone, revision, "deleted")];
  }
  if (row.version === before?.version) return [];
  return [toVersion(row, revision, before === null ? "created" : "updated")];
}

function toVersion(row: PolicyRow, revision: Revision, action: PolicyVersion["action"]): PolicyVersion {
  const { author, reason, source } = revision;
  return { ...row, action, author, reason, subject: source.subject };
}

/**
 * Returns the oldest version that is kept. It is the first version only if its number is 1; and it may be older than
 * the revision that it is found in.
 */
function firstKept(row: PolicyRow, revision: Revision): PolicyVersion {
  const action = row.version === 1 ? "created" : null;
  if (row.updatedAt === revision.time) return toVersion(row, revision, action);
  return { ...row, revision: null, commit: null, dirty: false, action, author: null, reason: null, subject: null };
}
