/** The rules or entries that a node would load. */
import { qualifiedName } from "../model/state.js";
import type { RenderedRuleset } from "../model/inspection.js";
import type { Style } from "./style.js";
import { renderTable } from "./table.js";

export function renderingDocument({ backend, node, text, entries, refusals }: RenderedRuleset, digest: string): object {
  return {
    formatVersion: 1,
    ...{ backend, node, digest, text, entries },
    refused: refusals.map(({ workload, rule, message, fix }) => ({
      workload,
      rule: rule === undefined ? null : `${qualifiedName(rule.policy)}/${rule.direction}/${rule.index}`,
      file: rule?.file ?? null,
      line: rule?.line ?? null,
      message,
      fix,
    })),
  };
}

export function renderRendering({ text, entries, node }: RenderedRuleset, style: Style): string {
  if (text !== null) return text.replace(/\n$/, "").split("\n").map(style.clean).join("\n");
  if (entries.length === 0) return style.line`Nothing is enforced on node ${node}.`;
  return renderTable(
    ["Kind", "What", "Value"],
    entries.map(({ kind, what, value }) => [kind, what, value]),
    style,
  );
}

export function renderRefusals({ backend, refusals }: RenderedRuleset, style: Style): string {
  return refusals
    .map(({ workload, rule, message, fix }) => {
      const place = rule?.file === undefined ? "" : ` (${rule.file}:${rule.line ?? 1})`;
      return style.line`${style.warn("not enforced as written")}: ${backend}: ${workload}${place}: ${message}; ${fix}`;
    })
    .join("\n");
}
