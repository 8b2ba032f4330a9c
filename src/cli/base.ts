/**
 * The common parts of all commands: the global flags, the settings, output for people or as one JSON document, and the
 * exit codes. A command's `run` parses, calls one operation, and passes the result to a view.
 */
import { randomInt } from "node:crypto";
import { Command, Errors, Flags, type Interfaces } from "@oclif/core";
import type { Diagnostic } from "../model/diagnostic.js";
import { printableJson } from "../model/printable.js";
import { OperationError } from "../model/operation-error.js";
import type { Settings } from "../settings/settings.js";
import type { Notice } from "../operations/change/notices.js";
import type { SourceFile } from "../interfaces/source.js";
import { renderDiagnostics } from "../views/diagnostics.js";
import { renderNotices } from "../views/source-control.js";
import type { Style } from "../views/style.js";
import { colourStyle, createMark, plainStyle } from "../views/style.js";
import { wrapLines } from "../views/wrap.js";
import { globalSettingFlags } from "../settings/flags.js";
import { loadSettings, type CommandLine } from "../wiring/settings.js";
import { findMissingStore } from "../wiring/store.js";
import { settleOutput } from "./output.js";
import { ignoredVariables } from "./risks.js";
import { describeParsing } from "./usage.js";

export const GLOBAL_FLAGS = {
  config: Flags.string({
    description: "configuration file (default: that of the user, then /etc/ztap/config.yaml)",
    env: "ZTAP_CONFIG",
    helpGroup: "GLOBAL",
    helpValue: "FILE",
  }),
  json: Flags.boolean({ description: "print one JSON document", env: "ZTAP_JSON", helpGroup: "GLOBAL" }),
  ...globalSettingFlags(),
};

/** Values of flags or arguments by name. */
type Values = Interfaces.OutputFlags<Interfaces.FlagInput>;

/** The number of warnings shown with a plan; `ztap validate` shows them all. */
const MAX_WARNINGS = 10;

export abstract class BaseCommand extends Command {
  static override baseFlags = GLOBAL_FLAGS;
  /** Flags from the command line; oclif fills the others from their variables. */
  #typed: ReadonlySet<string> = new Set();
  readonly #colours =
    process.env["NO_COLOR"] === undefined ? colourStyle(createMark(() => randomInt(2 ** 32) / 2 ** 32)) : plainStyle;

  protected get style(): Style {
    return process.stdout.isTTY ? { ...this.#colours, width: process.stdout.columns || 80 } : plainStyle;
  }

  /** Everything that is printed for people passes here: of control characters, only the style's own colours are left. */
  override log(message = ""): void {
    super.log("%s", this.style.finish(message));
  }

  override logToStderr(message = ""): void {
    super.logToStderr("%s", this.style.finish(message));
  }

  /** Reports oclif's errors about the command line in our words. */
  protected override async catch(error: Error): Promise<void> {
    if (error instanceof Errors.CLIError && !(error instanceof Errors.ExitError))
      throw new OperationError("usage", describeParsing(error, this.ctor));
    await super.catch(error);
  }

  protected override async parse<F extends Values, B extends Values, A extends Values>(
    options?: Interfaces.Input<F, B, A>,
    argv?: string[],
  ): Promise<Interfaces.ParserOutput<F, B, A>> {
    const parsed = await super.parse(options, argv);
    this.#typed = new Set(parsed.raw.flatMap((token) => (token.type === "flag" ? [token.flag] : [])));
    Object.assign(parsed.flags, settleOutput(parsed.flags, this.#typed, "output" in { ...this.ctor.flags }));
    // `flags` is undefined for a command without flags of its own.
    for (const warning of ignoredVariables({ ...this.ctor.flags }, process.env)) this.logToStderr(`ztap: ${warning}`);
    return parsed;
  }

  /** Whether a flag stands on the command line: a variable may have set it as well. */
  protected isTyped(flag: string): boolean {
    return this.#typed.has(flag);
  }

  /** @throws OperationError `invalid-settings` */
  protected settings(flags: Readonly<Record<string, unknown>>): Promise<Settings> {
    return loadSettings(this.commandLine(flags));
  }

  /** Returns the part of the command line that sets settings. */
  protected commandLine(flags: Readonly<Record<string, unknown>>): CommandLine {
    const { config } = flags;
    const typed = Object.entries(flags).flatMap(([name, value]) => {
      const text = value === true ? "true" : value;
      return this.#typed.has(name) && typeof text === "string" ? [[name, text] as const] : [];
    });
    return { config: typeof config === "string" ? config : undefined, flags: Object.fromEntries(typed) };
  }

  /** Prints the diagnostics of the source with their lines, on stderr. */
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

  /** Prints notices on stderr, so that stdout holds only the document. */
  protected showNotices(notices: readonly Notice[]): void {
    if (notices.length > 0) this.logToStderr(renderNotices(notices, this.style));
  }

  /** Says on stderr what takes long. */
  protected sayWaiting(what: string): void {
    this.logToStderr(this.style.line`ztap: waiting for ${what}`);
  }

  /** Prints a result: the document with --json, else the text. */
  protected print(flags: { readonly json: boolean }, document: object, text: () => string): void {
    this.log(flags.json ? printableJson(document, 2) : text());
  }

  /** Prints a list or a report in the format of `--output`. */
  protected async present(
    flags: { readonly output: string | undefined },
    document: object,
    text: () => string,
  ): Promise<void> {
    if (flags.output === "json") this.log(printableJson(document, 2));
    else if (flags.output === "yaml") this.log(await toYaml(document));
    else this.log(wrapLines(text(), this.style.width));
  }

  /** Prints one YAML document of several. */
  protected async printYaml(document: object): Promise<void> {
    this.log(`---\n${await toYaml(document)}`);
  }

  /** Says on stderr, in one line, that a store of this machine does not exist yet. */
  protected async noteMissingStore(settings: Settings, consequence: string): Promise<void> {
    const missing = await findMissingStore(settings);
    if (missing !== null) this.logToStderr(this.style.line`ztap: there is no store at ${missing} yet; ${consequence}`);
  }
}

/** Only this format needs the library that writes YAML. */
async function toYaml(document: object): Promise<string> {
  return (await import("../views/yaml.js")).toYamlLines(document, { sorted: false }).join("\n");
}
