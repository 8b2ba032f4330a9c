/** The configuration file: YAML text → settings by their keys, and everything that is wrong with it. Pure. */
import type { Diagnostic } from "../model/diagnostic.js";
import type { ConfigDocument } from "../model/generated.js";
import { explainErrors } from "./explain.js";
import { toDiagnostic, type Problem } from "./problem.js";
import { syntaxProblem } from "./syntax.js";
import { parseConfig } from "./validators.js";
import { toValue } from "./value.js";
import { offsetOf, parseYaml } from "./yaml.js";

export interface ConfigResult {
  /** As text, `etcd.` and `source.` flattened; empty where there are errors. */
  readonly values: Readonly<Record<string, string>>;
  readonly diagnostics: readonly Diagnostic[];
}

export function readConfig(file: string, text: string): ConfigResult {
  const yaml = parseYaml({ path: file, text });
  const [document, ...others] = yaml.documents;
  if (document === undefined || (document.contents === null && document.errors.length === 0))
    return { values: {}, diagnostics: [] };
  const place = ({ offset, path, anchor, ...rest }: Problem): Diagnostic =>
    toDiagnostic({ ...rest, path }, yaml.position(offset ?? offsetOf(document, path, anchor ?? "value")));
  const syntax = syntaxProblem(document, text);
  if (syntax !== undefined) return { values: {}, diagnostics: [place(syntax)] };
  if (others.length > 0) {
    const message = "a configuration file holds one document";
    return { values: {}, diagnostics: [place({ code: "yamlSyntax", path: [], message, fix: "remove the others" })] };
  }
  const { value, problems } = toValue(document);
  const parsed = parseConfig(value);
  const found = [...problems, ...(parsed.ok ? [] : explainErrors(parsed.errors, "ztap", value))];
  if (found.length > 0 || !parsed.ok) return { values: {}, diagnostics: found.map(place) };
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
