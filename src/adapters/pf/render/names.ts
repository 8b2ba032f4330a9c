/**
 * Names: every text from Git that gets into pf's grammar passes through here, and comes out as letters, digits and a
 * few marks. None of it can end a string, a comment, a line or a rule.
 */
import { createHash } from "node:crypto";

/** ztap's only anchor; all other rules of pf are left alone. */
export const ANCHOR = "ztap";

/** PF_RULE_LABEL_SIZE and PF_TABLE_NAME_SIZE, without the zero at the end. */
const LABEL_LIMIT = 63;
const TABLE_LIMIT = 31;

/**
 * The purpose of a pf rule. `rule`: a policy's rule allows. `denied` and `audited`: no rule allows. `closed`: pf cannot
 * express the policies. `self`: self traffic of a workload. `neighbour`: IPv6 neighbour discovery.
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

/** Returns a label, unique by kind and identity; its end is for people, and is cut if there is no room. */
export function labelOf(kind: LabelKind, identity: string): string {
  return `ztap:${KINDS[kind]}:${hash(identity).slice(0, 16)}:${plain(identity)}`.slice(0, LABEL_LIMIT);
}

/**
 * Returns a table name. Equal contents have an equal name, so that no table is ever changed: another one replaces it.
 */
export function tableOf(cidrs: readonly string[]): string {
  return `zt_${hash(cidrs.join())}`.slice(0, TABLE_LIMIT);
}

/** Returns a comment. A backslash would join it to the next line, and a line break would end it. */
export function commentOf(text: string): string {
  return `# ${text.replace(/[^A-Za-z0-9 .,:/_[\]-]/g, "_")}`;
}

/** Removes special characters: `$` would be expanded in a label, and a space would end it in pfctl's output. */
function plain(text: string): string {
  return text.replace(/[^A-Za-z0-9./_-]/g, "_");
}
