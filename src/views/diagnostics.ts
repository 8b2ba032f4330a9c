/**
 * Diagnostics for people (position, message, the source line with a caret, and the fix), and the document of `ztap
 * validate --json`. The text is plain; colour comes from a style, so that only output to a terminal has any.
 */
import { countProblems } from "../manifest/diagnostic-limit.js";
import type { Diagnostic } from "../model/diagnostic.js";
import { hasErrors } from "../model/diagnostic.js";
import { KINDS, type Kind } from "../model/objects.js";
import type { ObjectSet } from "../model/state.js";
import { plainStyle, type Style } from "./style.js";

interface DiagnosticView {
  readonly style?: Style;
  /** Returns the text of a file, for the line with the caret; undefined if it is not available. */
  readonly textOf?: (file: string) => string | undefined;
}

/** Returns one block per diagnostic, without a summary; it ends with a line break unless it is empty. */
export function renderDiagnostics(diagnostics: readonly Diagnostic[], view: DiagnosticView = {}): string {
  const style = view.style ?? plainStyle;
  const lines = new SourceLines(view.textOf ?? (() => undefined));
  return diagnostics.map((diagnostic) => renderDiagnostic(diagnostic, style, lines)).join("");
}

function renderDiagnostic(diagnostic: Diagnostic, style: Style, lines: SourceLines): string {
  const { file, line, column, severity, code, path, message, wanted, fix } = diagnostic;
  const colour = (text: string): string => (severity === "error" ? style.bad(text) : style.warn(text));
  const where = path === "" ? "" : ` ${style.dim(`(${path})`)}`;
  // A file that could not be read has no text to show.
  const source = lines.at(file, line);
  return [
    style.line`${style.bold(`${file}:${line}:${column}`)} ${colour(severity)} ${style.dim(code)} ${message}${where}`,
    ...(source === undefined || source === "" ? [] : withCaret(source, line, column, colour, style)),
    ...(wanted === undefined ? [] : [style.line`  ${style.dim("wanted")} ${wanted}`]),
    ...(fix === undefined ? [] : [style.line`  ${style.dim("fix")}    ${fix}`]),
    "",
  ].join("\n");
}

/** Lines longer than this are cut around the column. */
const SOURCE_WIDTH = 100;

function withCaret(
  source: string,
  line: number,
  column: number,
  colour: (text: string) => string,
  style: Style,
): readonly string[] {
  const from = column > SOURCE_WIDTH ? column - SOURCE_WIDTH / 2 : 0;
  const shown = source.slice(from, from + SOURCE_WIDTH).replace(/[\t\n]/g, " ");
  const gutter = `  ${line} | `;
  // The caret must be below its character whatever the width of a tab: tabs were replaced by one space above.
  const caret = `${" ".repeat(gutter.length - 2)}| ${" ".repeat(Math.max(0, column - 1 - from))}`;
  return [style.line`${style.dim(gutter)}${shown}`, style.line`${style.dim(caret)}${colour("^")}`];
}

/** Splits each file once, and keeps only the last one: diagnostics are sorted by file. */
class SourceLines {
  #file: string | undefined;
  #lines: readonly string[] = [];

  constructor(readonly textOf: (file: string) => string | undefined) {}

  at(file: string, line: number): string | undefined {
    if (this.#file !== file) {
      this.#file = file;
      this.#lines = this.textOf(file)?.split(/\r?\n/) ?? [];
    }
    return this.#lines[line - 1];
  }
}

/** Returns one line: the objects read, and the number of problems. */
export function summarizeDiagnostics(diagnostics: readonly Diagnostic[], objects: ObjectSet): string {
  const { errors, warnings, more } = countProblems(diagnostics);
  const counts = Object.entries(countObjects(objects)).map(([kind, count]) => `${count} ${kind}`);
  const read = counts.length === 0 ? "no objects" : counts.join(", ");
  const found = [
    ...(errors > 0 ? [plural(errors, "error")] : []),
    ...(warnings > 0 ? [plural(warnings, "warning")] : []),
    ...(more > 0 ? [plural(more, "more problem")] : []),
  ];
  return `${errors > 0 ? "invalid" : "valid"}: ${read}${found.length === 0 ? "" : `; ${found.join(", ")}`}`;
}

const plural = (count: number, word: string): string => `${count} ${word}${count === 1 ? "" : "s"}`;

/** Returns the number of objects of each kind, without kinds that have none. */
export function countObjects(objects: ObjectSet): Readonly<Partial<Record<Kind, number>>> {
  const kinds = [...objects.values()].map(({ ref }) => ref.kind);
  const counts = KINDS.map((kind) => [kind, kinds.filter((other) => other === kind).length] as const);
  return Object.fromEntries(counts.filter(([, count]) => count > 0));
}

/** The document of `ztap validate --json`; schemas/output/validate.schema.json. */
export interface ValidateOutput {
  readonly formatVersion: 1;
  readonly valid: boolean;
  readonly objects: Readonly<Partial<Record<Kind, number>>>;
  readonly diagnostics: readonly Diagnostic[];
  readonly omitted: number;
}

export function toValidateOutput(
  objects: ObjectSet,
  diagnostics: readonly Diagnostic[],
  omitted: number,
): ValidateOutput {
  return { formatVersion: 1, valid: !hasErrors(diagnostics), objects: countObjects(objects), diagnostics, omitted };
}

/** Returns the text of `ztap validate`: every diagnostic, then a summary line. */
export function renderValidation(
  objects: ObjectSet,
  diagnostics: readonly Diagnostic[],
  files: readonly { readonly path: string; readonly text: string }[],
  style: Style,
): string {
  const texts = new Map(files.map(({ path, text }) => [path, text]));
  const blocks = renderDiagnostics(diagnostics, { style, textOf: (file) => texts.get(file) });
  return blocks + summarizeDiagnostics(diagnostics, objects);
}
