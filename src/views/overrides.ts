/** Overrides of policy, as text or as documents. */
import { instantOf } from "../model/guards.js";
import { describeTarget, type Override } from "../model/override.js";
import type { ListedOverride } from "../operations/override/override.js";
import { ageText } from "./age.js";
import type { ListTable } from "./listing.js";
import type { Style } from "./style.js";

export function overrideDocument(override: Override): object {
  return { formatVersion: 1, override };
}

export function renderOverride({ id, kind, target, until }: Override, style: Style): string {
  const what = kind === "quarantine" ? style.bad("In quarantine") : style.warn("Break-glass");
  const effect = kind === "quarantine" ? "nothing passes" : "policy refuses nothing";
  return style.line`${what}: ${describeTarget(target)}, ${effect} until ${until}, or \`ztap override end ${id}\`.`;
}

export function renderEnded({ kind, target }: Override, style: Style): string {
  return style.line`${style.good("Ended")}: the ${kind === "quarantine" ? "quarantine" : "break-glass"} of ${describeTarget(target)}; its policies hold again.`;
}

export function overrideListDocument(overrides: readonly ListedOverride[]): object {
  return { formatVersion: 1, overrides };
}

/** Returns a line for each override in force, for reports of other things. */
export function describeOverrides(overrides: readonly Override[]): readonly string[] {
  return overrides.map(
    ({ kind, target, until, by, reason }) => `${kind} of ${describeTarget(target)} until ${until} by ${by}: ${reason}`,
  );
}

export function overrideListing(overrides: readonly ListedOverride[], style: Style, now: number): ListTable {
  const paint = { InForce: style.warn, Expired: style.dim, Ended: style.dim };
  return {
    columns: [
      { title: "Id", isName: true },
      { title: "Kind" },
      { title: "Target" },
      { title: "State" },
      { title: "Ends" },
      { title: "On nodes" },
      { title: "By" },
      { title: "Reason" },
      { title: "Since", wide: true },
      { title: "Until", wide: true },
    ],
    rows: overrides.map((one) => ({
      key: one.id,
      cells: [
        one.id,
        one.kind,
        describeTarget(one.target),
        paint[one.state](one.state),
        one.state === "InForce" ? `in ${ageText(instantOf(one.until) - now)}` : (one.ended?.at ?? one.until),
        one.state === "InForce" ? String(one.nodes.length) : "-",
        one.ended === undefined ? one.by : `${one.by}, ended by ${one.ended.by}`,
        one.reason,
        one.since,
        one.until,
      ],
    })),
    empty: "No overrides: every node follows its policies.",
    notes: [],
  };
}
