/**
 * Exit codes and the failure of invalid input. Separate from base.ts, so that main.ts loads nothing that only commands
 * need.
 */
import { countProblems } from "../manifest/diagnostic-limit.js";
import type { Diagnostic } from "../model/diagnostic.js";

/**
 * 0 done, or no difference · 1 failed · 2 changes · 3 drift · 64 wrong command line · 130 Ctrl-C at a question, as in a
 * shell.
 */
export const EXIT = { done: 0, failed: 1, changes: 2, drift: 3, usage: 64, interrupted: 130 } as const;

/** The source does not validate; its diagnostics were already shown. */
export class InvalidInput extends Error {
  override readonly name = "InvalidInput";
  constructor(readonly diagnostics: readonly Diagnostic[]) {
    const { errors, more } = countProblems(diagnostics);
    const rest = more === 0 ? "" : `, and ${more} more ${more === 1 ? "problem" : "problems"}`;
    super(`${errors} ${errors === 1 ? "error" : "errors"}${rest} in the source; nothing was changed`);
  }
}
