/**
 * `ztap validate --format github`: diagnostics as workflow commands of GitHub Actions, which shows each beside its
 * line. The text of a message or a file's name cannot end a command or begin another.
 */
import type { Diagnostic } from "../../model/diagnostic.js";
import { printable, printableLine } from "../../model/printable.js";
import type { ObjectSet } from "../../model/state.js";
import { summarizeDiagnostics } from "../diagnostics.js";
import { describeProblem, STDIN, titleOf } from "./problem.js";

/** Returns one line per diagnostic, then a summary line. */
export function renderGithub(objects: ObjectSet, diagnostics: readonly Diagnostic[]): string {
  return [...diagnostics.map(toCommand), summarizeDiagnostics(diagnostics, objects)].join("\n");
}

function toCommand(diagnostic: Diagnostic): string {
  const { severity, file, line, column, code } = diagnostic;
  const place = file === STDIN ? [] : [`file=${escapeProperty(file)}`, `line=${line}`, `col=${column}`];
  const properties = [...place, `title=${escapeProperty(titleOf(code))}`].join(",");
  return `::${severity} ${properties}::${escapeData(describeProblem(diagnostic))}`;
}

/** Escapes text as the toolkit of GitHub Actions does: the percent sign first, since the other escapes contain one. */
function escapeData(text: string): string {
  return printable(text).replaceAll("%", "%25").replaceAll("\r", "%0D").replaceAll("\n", "%0A");
}

function escapeProperty(text: string): string {
  return escapeData(printableLine(text)).replaceAll(":", "%3A").replaceAll(",", "%2C");
}
