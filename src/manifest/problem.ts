/** A problem without a position: found in values, and located in the text by yaml/parse.ts. */
import type { Diagnostic } from "../model/diagnostic.js";
import type { Position } from "../model/objects.js";
import { CODES, type CodeName } from "./codes.js";

export type Path = readonly (string | number)[];

export interface Problem {
  readonly code: CodeName;
  /** The field with the problem. If the field is missing, its nearest parent that is present gives the position. */
  readonly path: Path;
  /** Whether the position is that of the key or of the value; default: the value. */
  readonly anchor?: "key" | "value";
  /** Offset in the text, if it is known already; otherwise the path is looked up. */
  readonly offset?: number | undefined;
  /** One sentence without a full stop. */
  readonly message: string;
  readonly found?: string;
  readonly wanted?: string;
  readonly fix?: string;
}

/**
 * Returns a path as text: `spec.ingress[0].ports[1].port`; keys that are not plain words are in brackets and quotes.
 */
export function formatPath(path: Path): string {
  return path
    .map((step, index) => {
      if (typeof step === "number") return `[${step}]`;
      if (!/^[A-Za-z_$][\w$]*$/.test(step)) return `[${JSON.stringify(step)}]`;
      return index === 0 ? step : `.${step}`;
    })
    .join("");
}

/** Returns the path of a text that `formatPath` made. */
export function parsePath(text: string): Path {
  return [...text.matchAll(/\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]|([A-Za-z_$][\w$]*)/g)].map(([, index, quoted, word]) =>
    index !== undefined ? Number(index) : quoted !== undefined ? String(JSON.parse(quoted)) : (word ?? ""),
  );
}

/** Returns the field's name for messages. */
export function fieldName(path: Path): string {
  const step = path.at(-1);
  return step === undefined ? "the document" : typeof step === "number" ? `${path.at(-2) ?? "item"}[${step}]` : step;
}

export function toDiagnostic(problem: Problem, position: Position): Diagnostic {
  const { code, severity } = CODES[problem.code];
  return {
    code,
    severity,
    file: position.file,
    line: position.line,
    column: position.column,
    path: clip(formatPath(problem.path)),
    message: clip(problem.message),
    ...(problem.found === undefined ? {} : { found: clip(problem.found) }),
    ...(problem.wanted === undefined ? {} : { wanted: clip(problem.wanted) }),
    ...(problem.fix === undefined ? {} : { fix: clip(problem.fix) }),
  };
}

/** Longest text of a message: a name or a line of the file, which may be a megabyte long, can be part of it. */
const TEXT_LIMIT = 2_000;

const clip = (text: string): string => (text.length > TEXT_LIMIT ? `${text.slice(0, TEXT_LIMIT)}…` : text);

/** Returns a value for a message: short, on one line. */
export function show(value: unknown): string {
  const text =
    value === undefined ? "nothing" : JSON.stringify(typeof value === "string" ? value.slice(0, 100) : value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}

/** Returns Kubernetes' own wording of a rule, as its API server reports it. */
export function kubernetesRule(rule: string): string {
  return `(Kubernetes: ${rule})`;
}
