/**
 * What every command shares: the global flags, the settings, output for people or as one JSON
 * document, and the exit codes. A command's `run` parses, calls one operation, and hands the result
 * to a view.
 */
import { Command, Flags } from "@oclif/core";
import type { Diagnostic } from "../model/diagnostic.js";
import { printableJson } from "../model/printable.js";
import type { Settings } from "../operations/settings.js";
import { LOG_LEVELS } from "../operations/settings.js";
import type { SourceFile } from "../ports/source.js";
import { renderDiagnostics } from "../views/diagnostics.js";
import type { Style } from "../views/style.js";
import { colourStyle, plainStyle } from "../views/style.js";
import { SETTING_FLAGS } from "./flags.js";
import { loadSettings } from "./load-settings.js";

export const GLOBAL_FLAGS = {
  config: Flags.string({
    description: "configuration file",
    env: "ZTAP_CONFIG",
    helpGroup: "GLOBAL",
    helpValue: "FILE",
  }),
  store: SETTING_FLAGS.store,
  json: Flags.boolean({ description: "print one JSON document", env: "ZTAP_JSON", helpGroup: "GLOBAL" }),
  "log-level": Flags.option({ options: LOG_LEVELS, helpGroup: "GLOBAL" })({
    description: "least severity that is logged",
    env: "ZTAP_LOG_LEVEL",
  }),
};

/** Beside a plan; `ztap validate` shows them all. */
const MAX_WARNINGS = 10;

export abstract class BaseCommand extends Command {
  static override baseFlags = GLOBAL_FLAGS;

  protected get style(): Style {
    return process.stdout.isTTY && process.env["NO_COLOR"] === undefined ? colourStyle : plainStyle;
  }

  /** @throws OperationError `invalid-settings` */
  protected settings(flags: Readonly<Record<string, unknown>>): Promise<Settings> {
    return loadSettings(flags);
  }

  /** What is wrong with the source, on stderr, with the lines that it is about. */
  protected showDiagnostics(diagnostics: readonly Diagnostic[], files: readonly SourceFile[]): void {
    if (diagnostics.length === 0) return;
    const errors = diagnostics.filter(({ severity }) => severity === "error");
    const warnings = diagnostics.filter(({ severity }) => severity === "warning");
    const shown = [...errors, ...warnings.slice(0, MAX_WARNINGS)];
    const texts = new Map(files.map(({ path, text }) => [path, text]));
    this.logToStderr(renderDiagnostics(shown, { style: this.style, textOf: (file) => texts.get(file) }));
    const hidden = warnings.length - MAX_WARNINGS;
    if (hidden > 0) this.logToStderr(`and ${hidden} more warnings; \`ztap validate\` shows them all\n`);
  }

  /** Prints a result: the document with --json, else the text. */
  protected print(flags: { readonly json: boolean }, document: object, text: () => string): void {
    this.log(flags.json ? printableJson(document, 2) : text());
  }
}
