/**
 * Limits the number of reported problems: for a file with an error in every line, a hundred thousand messages help no
 * more than a thousand.
 */
import type { Diagnostic, Severity } from "../model/diagnostic.js";
import { CODES } from "./codes.js";

const LIMIT = 1_000;

/** Numbers of problems that were found but are not reported. */
export type Omitted = Readonly<Record<Severity, number>>;

/**
 * The problems of one file. Errors and warnings have separate limits, so that warnings never hide the fact that there
 * is an error.
 */
export class DiagnosticList {
  readonly #kept: Record<Severity, Diagnostic[]> = { error: [], warning: [] };
  readonly #omitted: Record<Severity, number> = { error: 0, warning: 0 };

  /** Returns false if further problems are only counted. */
  hasRoom(severity: Severity): boolean {
    return this.#kept[severity].length < LIMIT;
  }

  add(diagnostic: Diagnostic): void {
    this.#kept[diagnostic.severity].push(diagnostic);
  }

  omit(severity: Severity, count: number): void {
    this.#omitted[severity] += count;
  }

  get all(): readonly Diagnostic[] {
    return [...this.#kept.error, ...this.#kept.warning];
  }

  get omitted(): Omitted {
    return this.#omitted;
  }
}

export interface Limited {
  /** At most a thousand. If more were found, the last one gives their number. */
  readonly diagnostics: readonly Diagnostic[];
  readonly omitted: number;
}

/**
 * Returns the diagnostics to report.
 * @param sorted by position; errors are kept before warnings
 */
export function limitDiagnostics(sorted: readonly Diagnostic[], more: readonly Omitted[]): Limited {
  const before = { error: sum(more, "error"), warning: sum(more, "warning") };
  if (sorted.length <= LIMIT && before.error + before.warning === 0) return { diagnostics: sorted, omitted: 0 };
  const room = LIMIT - 1;
  const errors = sorted.filter(({ severity }) => severity === "error");
  const warnings = sorted.filter(({ severity }) => severity === "warning");
  const kept = new Set([...errors.slice(0, room), ...warnings.slice(0, Math.max(0, room - errors.length))]);
  const diagnostics = sorted.filter((diagnostic) => kept.has(diagnostic));
  const omitted = sorted.length - kept.size + before.error + before.warning;
  const last = diagnostics.at(-1);
  if (last === undefined) return { diagnostics, omitted };
  const hasErrors = errors.length > room || before.error > 0;
  const { code } = CODES.moreProblems;
  const message = `${omitted.toLocaleString("en")} more problems were found, and are not listed`;
  const { file, line, column } = last;
  const severity = hasErrors ? "error" : "warning";
  return {
    diagnostics: [...diagnostics, { code, severity, file, line, column, path: "", message, found: String(omitted) }],
    omitted,
  };
}

/** Counts the reported problems; `more` is the number in the last diagnostic. */
export function countProblems(
  diagnostics: readonly Diagnostic[],
): Readonly<Record<"errors" | "warnings" | "more", number>> {
  const last = diagnostics.find(({ code }) => code === CODES.moreProblems.code);
  const told = diagnostics.filter((diagnostic) => diagnostic !== last);
  const errors = told.filter(({ severity }) => severity === "error").length;
  return { errors, warnings: told.length - errors, more: Number(last?.found ?? 0) };
}

const sum = (all: readonly Omitted[], severity: Severity): number =>
  all.reduce((total, omitted) => total + omitted[severity], 0);
