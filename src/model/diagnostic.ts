/** A problem in a user's input. Collected, never thrown. */

export type Severity = "error" | "warning";

export interface Diagnostic {
  /** Stable, for machines and for searches: `ZT` and four digits; docs/diagnostics.md lists them all. */
  readonly code: string;
  readonly severity: Severity;
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 code units. */
  readonly column: number;
  /** Field path such as `spec.ingress[0].ports[1].port`; empty for the whole document. */
  readonly path: string;
  /** One sentence: the problem, the value that was found and the value that was expected. */
  readonly message: string;
  readonly found?: string;
  readonly wanted?: string;
  readonly fix?: string;
}

export function hasErrors(diagnostics: readonly Diagnostic[]): boolean {
  return diagnostics.some((diagnostic) => diagnostic.severity === "error");
}

/** Returns a diagnostic as one line, for an error that stands for a whole file. */
export function diagnosticLine({ file, line, column, code, message, fix }: Diagnostic): string {
  return `${file}:${line}:${column} ${code} ${message}${fix === undefined ? "" : `; ${fix}`}`;
}
