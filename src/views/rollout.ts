/** The result of an undo, as text or as a document. */
import type { Undo, Undone } from "../operations/rollout/undo.js";
import { describeUndone } from "../operations/rollout/undo.js";
import type { Revision } from "../model/state.js";
import type { Style } from "./style.js";

type Committed = Extract<Undone, { readonly outcome: "undone" }>;

export function undoDocument({ target, planned }: Undo, { revision, undone, suspension }: Committed): object {
  return {
    formatVersion: 1,
    restored: target.revision.number,
    undone: undone.map(({ number, time, author, source }) => ({ number, time, author, ...subjectOf(source) })),
    summary: planned.plan.summary,
    revision: revision === null ? null : { number: revision.number, time: revision.time, author: revision.author },
    suspension,
  };
}

function subjectOf({ commit, subject }: Revision["source"]): object {
  return { commit, subject };
}

/** Renders what an undo takes back, and what it restores, before it is confirmed. */
export function renderUndo({ target, undone }: Undo, style: Style): string {
  return [
    ...undone.map((one) => style.line`${style.bad("Undo")}     ${revisionLine(one)}`),
    style.line`${style.good("Restore")}  ${revisionLine(target.revision)}`,
  ].join("\n");
}

function revisionLine({ number, time, author, source, reason }: Revision): string {
  const what = source.subject ?? reason;
  const commit = source.commit === null ? "" : `${source.commit.slice(0, 12)}  `;
  return `revision ${number}  ${time}  ${commit}${author}: ${what}`;
}

export function renderUndone({ target }: Undo, { revision, undone }: Committed, style: Style): string {
  const done =
    revision === null
      ? style.line`${style.good("Nothing to restore")}: head has the state of revision ${target.revision.number} already.`
      : style.line`${style.good("Committed")} revision ${revision.number}: the state of revision ${target.revision.number}, over ${describeUndone(undone)}.`;
  return (
    `${done}\n${style.warn("The source is suspended")}: nothing from it is committed until \`ztap rollout resume\`. ` +
    "Mend it first: after that, the leader commits what it has then. `ztap cluster status` shows which nodes have followed."
  );
}
