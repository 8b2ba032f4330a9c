/** What `ztap setup` will do, and what it did. */
import type { Check } from "../model/doctor.js";
import { renderDoctor } from "./doctor.js";
import type { Style } from "./style.js";

interface Plan {
  readonly file: string;
  readonly action: "write" | "replace" | "kept";
  readonly text: string | null;
  readonly backup: string | null;
}

interface Done {
  readonly plan: Plan;
  readonly checks: readonly Check[];
  readonly units: { readonly outcome: string; readonly detail: string } | null;
}

export function nodeSetupDocument({ plan, checks, units }: Done): object {
  const { file, action, backup } = plan;
  return { formatVersion: 1, file, action, backup, checks, units };
}

/** With --dry-run: the file's whole text. */
export function renderNodeSetupPlan({ file, action, text, backup }: Plan, style: Style): string {
  if (text === null) return style.line`${file} already says all of this: nothing would be changed.`;
  const doing = action === "write" ? "would be written" : "would be replaced";
  return [
    style.line`${file} ${doing}:`,
    "",
    ...text
      .trimEnd()
      .split("\n")
      .map((line) => style.line`  ${line}`),
    "",
    ...(backup === null ? [] : [style.line`The former file would be kept as ${backup}.`]),
    "Then the store and the source would be checked, and the agent's units enabled.",
  ].join("\n");
}

export function renderNodeSetup({ plan, checks, units }: Done, style: Style): string {
  const { file, action, backup } = plan;
  const did = { write: "wrote   ", replace: "replaced", kept: "kept    " }[action];
  return [
    style.line`${action === "kept" ? style.dim(did) : style.good(did)}  ${file}`,
    ...(backup === null ? [] : [style.line`${style.dim("kept    ")}  ${backup}: the file before`]),
    "",
    renderDoctor(checks, style),
    "",
    describeUnits(units, style),
  ].join("\n");
}

function describeUnits(units: Done["units"], style: Style): string {
  if (units === null) return style.bad("A check failed: the agent was not started. Mend it and run ztap setup again.");
  if (units.outcome === "enabled") return style.line`${style.good("Running")}: ${units.detail}.`;
  const hint = units.outcome === "failed" ? "" : "; start the agent yourself: ztap agent";
  return style.line`${style.warn("Not started")}: ${units.detail}${hint}`;
}
