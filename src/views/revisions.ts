/** The revisions of the store, as text or as a document. */
import type { RevisionList, RevisionRow } from "../operations/policy/revisions.js";
import type { Style } from "./style.js";
import { renderTable } from "./table.js";

export function revisionListDocument(list: RevisionList): object {
  return { formatVersion: 1, ...list };
}

export function renderRevisionList({ revisions, pruned }: RevisionList, style: Style): string {
  if (revisions.length === 0) return "No revisions: nothing was committed yet.";
  const rows = revisions.map((row) => [
    String(row.number),
    row.time,
    row.author,
    row.commit === null ? "-" : `${row.commit.slice(0, 12)}${row.dirty ? "-dirty" : ""}`,
    changesText(row.changes),
    row.reason,
  ]);
  const table = renderTable(["Revision", "Time", "Author", "Commit", "Changes", "Reason"], rows, style);
  return pruned ? `${table}\n${style.dim("Older revisions were pruned.")}` : table;
}

/** Returns the counts with the signs of a plan: `+1 ~2 -0`. */
function changesText(changes: RevisionRow["changes"]): string {
  return changes === null ? "?" : `+${changes.create} ~${changes.update} -${changes.delete}`;
}
