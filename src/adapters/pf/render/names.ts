/**
 * Names: everything of Git's that gets into pf's grammar goes through here, and comes out as letters, digits and a few
 * marks. Nothing of it can end a string, a comment, a line or a rule.
 */
import { createHash } from "node:crypto";

/** The one anchor that is ztap's; everything else of pf's is left alone. */
export const ANCHOR = "ztap";

/** PF_RULE_LABEL_SIZE and PF_TABLE_NAME_SIZE, without the zero at the end. */
const LABEL_LIMIT = 63;
const TABLE_LIMIT = 31;

/**
 * What a rule of pf's is there for. `rule`: a policy's rule allows. `denied` and `audited`: no rule allows. `closed`:
 * pf cannot say what the policies ask. `self`: a workload talks to itself. `neighbour`: IPv6 neighbour discovery.
 */
export type LabelKind = "rule" | "denied" | "audited" | "closed" | "self" | "neighbour";

const KINDS: Readonly<Record<LabelKind, string>> = {
  rule: "r",
  denied: "d",
  audited: "a",
  closed: "c",
  self: "s",
  neighbour: "n",
};

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** Unique by kind and identity; the end is for people, and is cut where there is no room. */
export function labelOf(kind: LabelKind, identity: string): string {
  return `ztap:${KINDS[kind]}:${hash(identity).slice(0, 16)}:${plain(identity)}`.slice(0, LABEL_LIMIT);
}

/** Equal contents have an equal name, so that no table is ever changed: another one takes its place. */
export function tableOf(cidrs: readonly string[]): string {
  return `zt_${hash(cidrs.join())}`.slice(0, TABLE_LIMIT);
}

/** A backslash would join the comment to the next line, as a line break would end it. */
export function commentOf(text: string): string {
  return `# ${text.replace(/[^A-Za-z0-9 .,:/_[\]-]/g, "_")}`;
}

/** `$` would be expanded in a label, and a space would end it in what pfctl prints. */
function plain(text: string): string {
  return text.replace(/[^A-Za-z0-9./_-]/g, "_");
}
