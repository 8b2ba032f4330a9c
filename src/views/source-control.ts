/** The results of source control commands, as text or as documents. */
import type { Approval, Suspension } from "../model/source-control.js";
import type { Notice } from "../operations/change/notices.js";
import type { Style } from "./style.js";

export function suspensionDocument(suspension: Suspension): object {
  return { formatVersion: 1, suspension };
}

export function renderSuspended({ until, reason }: Suspension, style: Style): string {
  const end = until === null ? "until `ztap cluster resume`" : `until ${until}, or \`ztap cluster resume\``;
  return `${style.line`${style.warn("Suspended")} ${end}: ${reason}.`}\nNothing from the source is committed; agents go on enforcing and healing.`;
}

export function resumedDocument(ended: Suspension | null): object {
  return { formatVersion: 1, resumed: ended !== null, suspension: ended };
}

export function renderResumed(ended: Suspension | null, style: Style): string {
  if (ended === null) return "The source was not suspended.";
  return style.line`${style.good("Resumed")}: the leader follows the source again from its next poll on (suspended by ${ended.by}: ${ended.reason}).`;
}

export function approvalDocument(approval: Approval): object {
  return { formatVersion: 1, approval };
}

export function renderApproved({ commit }: Approval, style: Style): string {
  return style.line`${style.good("Approved")}: the leader follows commit ${commit.slice(0, 12)} at its next poll, if it is still the tip then.`;
}

/** Renders notices for stderr. */
export function renderNotices(notices: readonly Notice[], style: Style): string {
  return notices.map(({ message }) => style.line`${style.warn("notice")}: ${message}`).join("\n");
}
