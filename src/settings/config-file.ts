/** The configuration file: YAML text → settings by their keys, and everything that is wrong with it. Pure. */
import { findDisagreement } from "../manifest/yaml/agreement.js";
import type { Diagnostic } from "../model/diagnostic.js";
import type { ConfigDocument } from "../model/generated.js";
import { explainErrors } from "../manifest/schema/errors.js";
import { toDiagnostic, type Problem } from "../manifest/problem.js";
import { stopProblem, strayProblem, syntaxProblem, warningProblems } from "../manifest/yaml/syntax.js";
import { textProblems } from "../manifest/yaml/characters.js";
import { parseConfig } from "../manifest/schema/validators.js";
import { toValue } from "../manifest/yaml/value.js";
import { offsetOf, parseYaml, positionFinder } from "../manifest/yaml/parse.js";

export interface ConfigResult {
  /** As text, `etcd.` and `source.` flattened; empty where there are errors. */
  readonly values: Readonly<Record<string, string>>;
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
  return { values: flatten(parsed.document), diagnostics: [] };
}

function flatten({ source: whole, etcd, ...settings }: ConfigDocument): Readonly<Record<string, string>> {
  const { verify, ...source } = whole ?? {};
  const entries = [
    ...Object.entries(settings),
    ...Object.entries(etcd ?? {}).map(([key, value]) => [`etcd.${key}`, value] as const),
    ...Object.entries(source).map(([key, value]) => [`source.${key}`, value] as const),
    ...Object.entries(verify ?? {}).map(([key, value]) => [`source.verify.${key}`, value] as const),
  ];
  return Object.fromEntries(entries.map(([key, value]) => [key, String(value)]));
}
