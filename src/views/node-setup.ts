/** What `ztap setup` will do, and what it did. */
import type { Check } from "../model/doctor.js";
import { renderDoctor } from "./doctor.js";
import { maskCredentials } from "../settings/mask.js";
import type { Style } from "./style.js";
import { wrapLines } from "./wrap.js";

interface Plan {
  readonly file: string;
  readonly action: "write" | "replace" | "kept";
  readonly text: string | null;
  readonly backup: string | null;
  readonly warnings: readonly string[];
}

interface Done {
  readonly plan: Plan;
  readonly checks: readonly Check[];
  readonly isWritten: boolean;
  readonly units: { readonly outcome: string; readonly detail: string } | null;
}

export function nodeSetupDocument({ plan, checks, isWritten, units }: Done): object {
  const { file, action, backup, warnings } = plan;
  return { formatVersion: 1, file, action, written: isWritten, backup, warnings, checks, units };
}

/** With --dry-run: the file's whole text, without passwords. */
export function renderNodeSetupPlan({ file, action, text, backup, warnings }: Plan, style: Style): string {
  if (text === null) return style.line`${file} already says all of this: nothing would be changed.`;
  const doing = action === "write" ? "would be written" : "would be replaced";
  const lines = [
    style.line`${file} ${doing}:`,
    "",
    ...maskCredentials(text)
      .trimEnd()
      .split("\n")
      .map((line) => style.line`  ${line}`),
    "",
    ...(backup === null ? [] : [style.line`The former file would be kept as ${backup}.`]),
    ...warnings.map((warning) => style.line`${style.warn("Warning")}: ${warning}`),
    "Before that the store and the source would be checked; after it the agent's units would be enabled.",
  ];
  return wrapLines(lines.join("\n"), style.width);
}

export function renderNodeSetup({ plan, checks, isWritten, units }: Done, style: Style): string {
  const { file, action, backup, warnings } = plan;
  const did = { write: "wrote   ", replace: "replaced", kept: "kept    " }[action];
  const lines = [
    isWritten
      ? style.line`${action === "kept" ? style.dim(did) : style.good(did)}  ${file}`
      : style.line`${style.bad("not written")}  ${file}: its store or its source cannot be used; what was there before stays`,
    ...warnings.map((warning) => style.line`${style.warn("Warning")}: ${warning}`),
    ...(backup === null || !isWritten ? [] : [style.line`${style.dim("kept    ")}  ${backup}: the file before`]),
    "",
    renderDoctor(checks, style),
    "",
    describeUnits(units, style),
  ];
  // The checks are wrapped already, and wrapping leaves them as they are.
  return wrapLines(lines.join("\n"), style.width);
}

function describeUnits(units: Done["units"], style: Style): string {
  if (units === null) return style.bad("A check failed: the agent was not started. Mend it and run ztap setup again.");
  if (units.outcome === "enabled") return style.line`${style.good("Running")}: ${units.detail}.`;
  const hint = units.outcome === "failed" ? "" : "; start the agent yourself: ztap agent";
  return style.line`${style.warn("Not started")}: ${units.detail}${hint}`;
}
