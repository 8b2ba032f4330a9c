/** The configuration file: reads YAML text into settings by their keys, and reports all problems. Pure. */
import { diagnosticLine, hasErrors, type Diagnostic } from "../model/diagnostic.js";
import { OperationError } from "../model/operation-error.js";
import { parseConfig } from "../manifest/schema/validators.js";
import { readSingle } from "../manifest/single.js";
import { SETTING_KEYS } from "./definitions.js";
import type { SettingsLayer } from "./read.js";

export interface ConfigResult {
  /** Empty if there are errors. */
  readonly values: SettingsLayer;
  readonly diagnostics: readonly Diagnostic[];
}

export function readConfig(file: string, text: string): ConfigResult {
  const { document, diagnostics, positionOf } = readSingle({ path: file, text }, parseConfig, "config");
  if (document === null) return { values: {}, diagnostics };
  const entries = SETTING_KEYS.flatMap((key) => {
    const path = key.split(".");
    const setting = valueAt(document, path);
    const text = textOf(setting);
    if (text === null) return [];
    const { line } = positionOf(path, "key");
    return [[key, { text, origin: `${file}:${line}` }] as const];
  });
  return { values: Object.fromEntries(entries), diagnostics: [] };
}

/** Reads the settings of a file. @throws OperationError `invalid-settings` with all problems */
export function readSettingsFile(file: string, text: string): SettingsLayer {
  const { values, diagnostics } = readConfig(file, text);
  if (!hasErrors(diagnostics)) return values;
  throw new OperationError("invalid-settings", diagnostics.map(diagnosticLine).join("\n"));
}

function valueAt(document: object, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (at, name) => (at !== null && typeof at === "object" ? Reflect.get(at, name) : undefined),
    document,
  );
}

/** Returns a setting as the text of a flag or a variable: a list as JSON; null for none. */
function textOf(setting: unknown): string | null {
  if (Array.isArray(setting)) return JSON.stringify(setting);
  return typeof setting === "string" || typeof setting === "number" || typeof setting === "boolean"
    ? String(setting)
    : null;
}
