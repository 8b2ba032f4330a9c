/** The revisions of the store, as text or as a document. */
import type { RevisionList, RevisionRow } from "../operations/policy/revisions.js";
import type { Style } from "./style.js";
import type { ListTable } from "./listing.js";

export function revisionListDocument(list: RevisionList): object {
  return { formatVersion: 1, ...list };
}

export function revisionListing({ revisions, pruned }: RevisionList, style: Style): ListTable {
  const rows = revisions.map((row) => ({
    key: String(row.number),
    cells: [
      String(row.number),
      row.time,
      row.author,
      row.commit === null ? "-" : `${row.commit.slice(0, 12)}${row.dirty ? "-dirty" : ""}`,
      changesText(row.changes),
      describeReason(row),
      row.node,
    ],
  }));
  const titles = ["Revision", "Time", "Author", "Commit", "Changes", "Reason"];
  return {
    columns: [...titles.map((title) => ({ title })), { title: "Source Node", wide: true }],
    rows,
    empty: "No revisions: nothing was committed yet.",
    notes: pruned ? [style.dim("Older revisions were pruned.")] : [],
  };
}

/** Returns the reason of a commit; for one from the source, with the first line of its message. */
export function describeReason({
  reason,
  subject,
}: {
  readonly reason: string | null;
  readonly subject: string | null;
}): string {
  if (reason === null) return "?";
  return reason === "source" && subject !== null ? `${reason}: ${subject}` : reason;
}

/** Returns the counts with the signs of a plan: `+1 ~2 -0`. */
function changesText(changes: RevisionRow["changes"]): string {
  return changes === null ? "?" : `+${changes.create} ~${changes.update} -${changes.delete}`;
}
