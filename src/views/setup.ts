/** The change of pf.conf, before and after it was made. */
import { diffLines } from "diff";
import type { SetupPlan, SetupResult } from "../model/inspection.js";
import { plainStyle, type Style } from "./style.js";

export function renderSetupPlan({ conf, before, after }: SetupPlan, style: Style): string {
  const lines = diffLines(before, after).flatMap(({ added, removed, value }) => {
    if (!added && !removed) return [];
    const sign = added ? style.good("+") : style.bad("-");
    return value
      .replace(/\n$/, "")
      .split("\n")
      .map((line) => style.line`  ${sign} ${line}`);
  });
  return [style.line`${conf}:`, ...lines].join("\n");
}

export function setupDocument({ line }: SetupPlan, { conf, changed, backup }: SetupResult): object {
  return { formatVersion: 1, conf, line, changed, backup };
}

export function renderSetupResult({ conf, changed, backup }: SetupResult): string {
  return changed
    ? plainStyle.line`Changed and loaded ${conf}; the previous file is kept as ${backup ?? "nothing"}.`
    : plainStyle.line`${conf} is as it should be; nothing was changed.`;
}
