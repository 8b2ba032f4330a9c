/** A problem before it has a position: found in values, placed in the text by yaml.ts. */
import type { Diagnostic } from "../model/diagnostic.js";
import type { Position } from "../model/objects.js";
import { CODES, type CodeName } from "./codes.js";

export type Path = readonly (string | number)[];

export interface Problem {
  readonly code: CodeName;
  /** The field that is wrong. Where it is missing, the nearest parent that is there gives the position. */
  readonly path: Path;
  /** Whether the key or the value is pointed at; the value where nothing is said. */
  readonly anchor?: "key" | "value";
  /** Offset in the text, where it is known already; otherwise the path is looked up. */
  readonly offset?: number | undefined;
  /** One sentence without a full stop. */
  readonly message: string;
  readonly found?: string;
  readonly wanted?: string;
  readonly fix?: string;
}

/** `spec.ingress[0].ports[1].port`; keys that are not plain words stand in brackets and quotes. */
export function formatPath(path: Path): string {
  return path
    .map((step, index) => {
      if (typeof step === "number") return `[${step}]`;
      if (!/^[A-Za-z_$][\w$]*$/.test(step)) return `[${JSON.stringify(step)}]`;
      return index === 0 ? step : `.${step}`;
    })
    .join("");
}

/** The path that `formatPath` made the text of. */
export function parsePath(text: string): Path {
  return [...text.matchAll(/\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]|([A-Za-z_$][\w$]*)/g)].map(([, index, quoted, word]) =>
    index !== undefined ? Number(index) : quoted !== undefined ? String(JSON.parse(quoted)) : (word ?? ""),
  );
}

/** The field as a message names it. */
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

/** A name or a line of the file may be a megabyte long, and stand in a message. */
const TEXT_LIMIT = 2_000;

const clip = (text: string): string => (text.length > TEXT_LIMIT ? `${text.slice(0, TEXT_LIMIT)}…` : text);

/** A value as it stands in a message: short, on one line. */
export function show(value: unknown): string {
  const text =
    value === undefined ? "nothing" : JSON.stringify(typeof value === "string" ? value.slice(0, 100) : value);
  return text.length > 80 ? `${text.slice(0, 77)}…` : text;
}

/** Kubernetes' own wording of a rule, as its API server reports it. */
export function kubernetesRule(rule: string): string {
  return `(Kubernetes: ${rule})`;
}
