/** The configuration file: reads YAML text into settings by their keys, and reports all problems. Pure. */
import type { Diagnostic } from "../model/diagnostic.js";
import { explainErrors } from "../manifest/schema/errors.js";
import { toDiagnostic, type Problem } from "../manifest/problem.js";
import { parseConfig } from "../manifest/schema/validators.js";
import { readText, type OffsetOf } from "../manifest/yaml/read.js";
import { SETTING_KEYS } from "./definitions.js";
import type { SettingsLayer } from "./read.js";

export interface ConfigResult {
  /** Empty if there are errors. */
  readonly values: SettingsLayer;
  readonly diagnostics: readonly Diagnostic[];
}

export function readConfig(file: string, text: string): ConfigResult {
  const { documents, refusals, position } = readText({ path: file, text });
  const place = ({ offset, ...rest }: Problem, offsetOf: OffsetOf): Diagnostic =>
    toDiagnostic(rest, position(offset ?? offsetOf(rest.path, rest.anchor ?? "value")));
  const refuse = (diagnostics: readonly Diagnostic[]): ConfigResult => ({ values: {}, diagnostics });
  if (refusals.length > 0) return refuse(refusals.map(({ problem, offsetOf }) => place(problem, offsetOf)));
  const [document, other] = documents;
  if (document === undefined) return { values: {}, diagnostics: [] };
  const { value, problems, offsetOf } = document;
  if (other !== undefined) {
    const message = "a configuration file holds one document";
    return refuse([place({ code: "yamlSyntax", path: [], message, fix: "remove the others" }, other.offsetOf)]);
  }
  const parsed = parseConfig(value);
  const found = [...problems, ...(parsed.ok ? [] : explainErrors(parsed.errors, "config", value).problems)];
  if (found.length > 0 || !parsed.ok) return refuse(found.map((problem) => place(problem, offsetOf)));
  const entries = SETTING_KEYS.flatMap((key) => {
    const path = key.split(".");
    const setting = valueAt(parsed.document, path);
    if (typeof setting !== "string" && typeof setting !== "number" && typeof setting !== "boolean") return [];
    const { line } = position(offsetOf(path, "key"));
    return [[key, { text: String(setting), origin: `${file}:${line}` }] as const];
  });
  return { values: Object.fromEntries(entries), diagnostics: [] };
}

function valueAt(document: object, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (at, name) => (at !== null && typeof at === "object" ? Reflect.get(at, name) : undefined),
    document,
  );
}
