/** The configuration file: reads YAML text into settings by their keys, and reports all problems. Pure. */
import { findDisagreement } from "../manifest/yaml/agreement.js";
import type { Diagnostic } from "../model/diagnostic.js";
import { explainErrors } from "../manifest/schema/errors.js";
import { toDiagnostic, type Problem } from "../manifest/problem.js";
import { stopProblem, strayProblem, syntaxProblem, warningProblems } from "../manifest/yaml/syntax.js";
import { textProblems } from "../manifest/yaml/characters.js";
import { parseConfig } from "../manifest/schema/validators.js";
import { toValue } from "../manifest/yaml/value.js";
import { offsetOf, parseYaml, positionFinder } from "../manifest/yaml/parse.js";
import { SETTING_KEYS } from "./definitions.js";
import type { SettingsLayer } from "./read.js";

export interface ConfigResult {
  /** Empty if there are errors. */
  readonly values: SettingsLayer;
  readonly diagnostics: readonly Diagnostic[];
}

export function readConfig(file: string, text: string): ConfigResult {
  const position = positionFinder({ path: file, text });
  const refuse = (...problems: readonly Problem[]): ConfigResult => ({
    values: {},
    diagnostics: problems.map(({ offset = 0, ...rest }) => toDiagnostic(rest, position(offset))),
  });
  const doubtful = textProblems(text);
  if (doubtful.length > 0) return refuse(...doubtful);
  const { documents, errors, stopped } = parseYaml({ path: file, text });
  const [stray] = errors;
  if (stray !== undefined) return refuse(strayProblem(stray));
  if (stopped !== null) return refuse(stopProblem(stopped));
  const [document, ...others] = documents;
  if (document === undefined || (document.contents === null && document.errors.length === 0))
    return { values: {}, diagnostics: [] };
  const placed = ({ offset, ...rest }: Problem): Problem => ({
    ...rest,
    offset: offset ?? offsetOf(document, rest.path, rest.anchor ?? "value"),
  });
  const syntax = syntaxProblem(document, text, position);
  if (syntax !== undefined) return refuse(syntax);
  if (others.length > 0) {
    const message = "a configuration file holds one document";
    return refuse({ code: "yamlSyntax", path: [], message, fix: "remove the others" });
  }
  const { value, problems } = toValue(document);
  const unclear = [...warningProblems(document), ...problems];
  const difference = unclear.length === 0 ? findDisagreement(text, value === null ? [] : [value]) : undefined;
  if (difference !== undefined) return refuse(placed(difference.problem));
  const parsed = parseConfig(value);
  const found = [...unclear, ...(parsed.ok ? [] : explainErrors(parsed.errors, "config", value).problems)];
  if (found.length > 0 || !parsed.ok) return refuse(...found.map(placed));
  const entries = SETTING_KEYS.flatMap((key) => {
    const path = key.split(".");
    const found = valueAt(parsed.document, path);
    if (typeof found !== "string" && typeof found !== "number" && typeof found !== "boolean") return [];
    const { line } = position(offsetOf(document, path, "key"));
    return [[key, { text: String(found), origin: `${file}:${line}` }] as const];
  });
  return { values: Object.fromEntries(entries), diagnostics: [] };
}

function valueAt(document: object, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (at, name) => (at !== null && typeof at === "object" ? Reflect.get(at, name) : undefined),
    document,
  );
}
