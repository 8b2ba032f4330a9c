/** The change of pf.conf, before and after it was made. */
import { diffLines } from "diff";
import type { SetupPlan, SetupResult } from "../model/inspection.js";
import { printable } from "../model/printable.js";
import type { Style } from "./style.js";

export function renderSetupPlan({ conf, before, after }: SetupPlan, style: Style): string {
  const lines = diffLines(before, after).flatMap(({ added, removed, value }) => {
    if (!added && !removed) return [];
    const sign = added ? style.good("+") : style.bad("-");
    return value
      .replace(/\n$/, "")
      .split("\n")
      .map((line) => `  ${sign} ${printable(line)}`);
  });
  return [`${conf}:`, ...lines].join("\n");
}

export function setupDocument({ line }: SetupPlan, { conf, changed, backup }: SetupResult): object {
  return { formatVersion: 1, conf, line, changed, backup };
}

export function renderSetupResult({ conf, changed, backup }: SetupResult): string {
  return changed
    ? `Changed and loaded ${conf}; the previous file is kept as ${backup ?? "nothing"}.`
    : `${conf} is as it should be; nothing was changed.`;
}
