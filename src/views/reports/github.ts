/**
 * `ztap validate --format github`: diagnostics as workflow commands of GitHub Actions, which shows each beside
 * the line that it is about. What stands in a message or a file's name cannot end a command or begin another.
 */
import type { Diagnostic } from "../../model/diagnostic.js";
import { printable, printableLine } from "../../model/printable.js";
import type { ObjectSet } from "../../model/state.js";
import { summarizeDiagnostics } from "../diagnostics.js";
import { describeProblem, STDIN, titleOf } from "./problem.js";

/** One line a diagnostic, then one that sums up. */
export function renderGithub(objects: ObjectSet, diagnostics: readonly Diagnostic[]): string {
  return [...diagnostics.map(toCommand), summarizeDiagnostics(diagnostics, objects)].join("\n");
}

function toCommand(diagnostic: Diagnostic): string {
  const { severity, file, line, column, code } = diagnostic;
  const place = file === STDIN ? [] : [`file=${escapeProperty(file)}`, `line=${line}`, `col=${column}`];
  const properties = [...place, `title=${escapeProperty(titleOf(code))}`].join(",");
  return `::${severity} ${properties}::${escapeData(describeProblem(diagnostic))}`;
}

/** As the toolkit of GitHub Actions writes them: the percent sign first, since the others become one. */
function escapeData(text: string): string {
  return printable(text).replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
}

function escapeProperty(text: string): string {
  return escapeData(printableLine(text)).replaceAll(":", "%3A").replaceAll(",", "%2C");
}
