/** Reads a file that is one document of one schema, such as the configuration file, and reports all problems. Pure. */
import type { Diagnostic } from "../model/diagnostic.js";
import type { Position } from "../model/objects.js";
import { toDiagnostic, type Path, type Problem } from "./problem.js";
import { explainErrors, type FileFamily } from "./schema/errors.js";
import type { Parsed } from "./schema/validators.js";
import type { TextFile } from "./yaml/parse.js";
import { readText, type OffsetOf } from "./yaml/read.js";

export interface SingleDocument<T> {
  /** Null if the file has no content, or problems. */
  readonly document: T | null;
  readonly diagnostics: readonly Diagnostic[];
  readonly positionOf: (path: Path, anchor: "key" | "value") => Position;
}

export function readSingle<T>(
  file: TextFile,
  parse: (value: unknown) => Parsed<T>,
  family: FileFamily,
): SingleDocument<T> {
  const { documents, refusals, position } = readText(file);
  const [document, other] = documents;
  const positionOf = (path: Path, anchor: "key" | "value"): Position => position(document?.offsetOf(path, anchor) ?? 0);
  const place = ({ offset, ...rest }: Problem, offsetOf: OffsetOf): Diagnostic =>
    toDiagnostic(rest, position(offset ?? offsetOf(rest.path, rest.anchor ?? "value")));
  const refuse = (diagnostics: readonly Diagnostic[]): SingleDocument<T> => ({
    document: null,
    diagnostics,
    positionOf,
  });
  if (refusals.length > 0) return refuse(refusals.map(({ problem, offsetOf }) => place(problem, offsetOf)));
  if (document === undefined) return refuse([]);
  const { value, problems, offsetOf } = document;
  if (other !== undefined) {
    const message = family === "config" ? "a configuration file holds one document" : "this file holds one document";
    return refuse([place({ code: "yamlSyntax", path: [], message, fix: "remove the others" }, other.offsetOf)]);
  }
  const parsed = parse(value);
  const found = [...problems, ...(parsed.ok ? [] : explainErrors(parsed.errors, family, value).problems)];
  if (found.length > 0 || !parsed.ok) return refuse(found.map((problem) => place(problem, offsetOf)));
  return { document: parsed.document, diagnostics: [], positionOf };
}
