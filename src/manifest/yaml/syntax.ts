/**
 * Explains the syntax errors of one YAML document. The parser gives the error and its offset; the text at that offset
 * shows the author's most likely mistake.
 */
import { isCollection, visit, type Document, type YAMLError } from "yaml";
import type { Problem } from "../problem.js";
import { TEXT_LIMITS, nodeOffset, type Stop, type YamlFile } from "./parse.js";

/** Returns only the first error: the errors behind it are mostly its consequences. */
export function syntaxProblem(
  document: Document.Parsed,
  text: string,
  position: YamlFile["position"],
): Problem | undefined {
  const { version, explicit } = document.directives.yaml;
  if (explicit === true && version !== "1.2") {
    return {
      code: "yamlSyntax",
      path: [],
      offset: document.range[0],
      message: `the document asks for YAML ${version}, in which yes, no and 010 have another meaning`,
      found: version,
      wanted: "YAML 1.2",
      fix: "remove the %YAML line",
    };
  }
  const error = [...document.errors].sort((a, b) => a.pos[0] - b.pos[0])[0];
  if (error === undefined) return undefined;
  const fix = FIXES[error.code]?.({ document, text, position, offset: error.pos[0] });
  return {
    code: "yamlSyntax",
    path: [],
    offset: error.pos[0],
    message: `this is not YAML: ${firstLine(error.message)}`,
    ...(fix === undefined ? {} : { fix }),
  };
}

/** Returns the parser's warnings, except those about tags, which are reported while values are read. */
export function warningProblems(document: Document.Parsed): readonly Problem[] {
  return document.warnings
    .filter(({ code }) => code !== "TAG_RESOLVE_FAILED")
    .map(({ pos, message }) => ({ code: "yamlSyntax", path: [], offset: pos[0], message: firstLine(message) }));
}

/** Returns the problem of text outside every document, such as a bracket that closes nothing. */
export function strayProblem(error: YAMLError): Problem {
  const message = `this is not YAML: ${firstLine(error.message)}`;
  return { code: "yamlSyntax", path: [], offset: error.pos[0], message };
}

const STOPS: Readonly<Record<Stop["why"], string>> = {
  pieces: `the file has more than ${TEXT_LIMITS.pieces} words, brackets and line breaks`,
  documents: `the file has more than ${TEXT_LIMITS.documents} documents`,
  errors: `more than ${TEXT_LIMITS.errors} places of the file are not YAML`,
  depth: "the file is nested deeper than it can be read",
};

export function stopProblem({ why, offset }: Stop): Problem {
  return {
    code: why === "depth" ? "nestingLimit" : "sizeLimit",
    path: [],
    offset,
    message: `${STOPS[why]}; nothing is read from here on`,
    ...(why === "depth" || why === "errors" ? {} : { fix: "write the objects into several files" }),
  };
}

const firstLine = (text: string): string => text.split("\n", 1)[0] ?? text;

/** The place where the parser gave up. */
interface Spot {
  readonly document: Document.Parsed;
  readonly text: string;
  readonly position: YamlFile["position"];
  readonly offset: number;
}

const columnOrKey = (spot: Spot): string => unclosed(spot) ?? keyFix(spot.text, spot.offset);

const FIXES: Readonly<Partial<Record<YAMLError["code"], (spot: Spot) => string | undefined>>> = {
  TAB_AS_INDENT: () => "indent with spaces in place of tabs",
  BAD_SCALAR_START: () => "put the value in quotes",
  BAD_DQ_ESCAPE: () => "write \\\\ for a backslash, or use single quotes",
  BLOCK_AS_IMPLICIT_KEY: ({ text, offset }) =>
    /:(\s|$)/.test(lineFrom(text, offset))
      ? "put the value in quotes if it holds a colon; else begin each field on a line of its own"
      : "begin the next line in the column of the field above it: a field with a value cannot contain fields",
  UNEXPECTED_TOKEN: ({ text, offset }) => unexpectedFix(text, offset),
  MISSING_CHAR: columnOrKey,
  MULTILINE_IMPLICIT_KEY: columnOrKey,
  BAD_INDENT: columnOrKey,
};

function unexpectedFix(text: string, offset: number): string | undefined {
  if (/^[\]}]/.test(text.slice(offset, offset + 1)))
    return `remove the ${text.charAt(offset)}, or add the opening bracket`;
  const before = text.slice(text.lastIndexOf("\n", offset - 1) + 1, offset);
  if (before.trim() === "") return keyFix(text, offset);
  return /["']/.test(before) ? "put the whole value in one pair of quotes" : undefined;
}

/** Finds the quote or the bracket that is opened before the offset and never closed. */
function unclosed({ document, text, position, offset }: Spot): string | undefined {
  let found: { readonly start: number; readonly opening: string; readonly closing: string } | undefined;
  visit(document, (_, node) => {
    const start = nodeOffset(node);
    if (start === undefined || start >= offset) return;
    const opening = text.charAt(start);
    const closing = { '"': '"', "'": "'", "[": "]", "{": "}" }[opening];
    if (closing === undefined || (isCollection(node) && node.flow !== true)) return;
    const end = endOf(node);
    if (end - start >= 2 && text.charAt(end - 1) === closing) return;
    found = { start, opening, closing };
  });
  if (found === undefined) return undefined;
  return `close the ${found.opening} of line ${position(found.start).line} with ${found.closing}`;
}

/** Returns the offset behind the node's last character. */
function endOf(node: unknown): number {
  return node !== null && typeof node === "object" && "range" in node && Array.isArray(node.range)
    ? Number(node.range[1])
    : 0;
}

/** Returns the fix for a line that must be a field and is not. */
function keyFix(text: string, offset: number): string {
  const line = lineFrom(text, text.lastIndexOf("\n", offset - 1) + 1).trim();
  const field = line.replace(/^(- +)+/, "");
  const [, name, value = ""] = /^([\w./-]+)(?::(?=\S)|\s+|$)(.*)$/.exec(field) ?? [];
  if (name === undefined || value.startsWith(":") || line.startsWith("-"))
    return "begin the fields of a mapping, and the items of a list, in one column";
  return field.startsWith(`${name}:`)
    ? `write a space after the colon: ${name}: ${value}`
    : `write a colon and a space after the name: ${`${name}: ${value}`.trimEnd()}`;
}

function lineFrom(text: string, offset: number): string {
  const end = text.indexOf("\n", offset);
  return text.slice(offset, end < 0 ? undefined : end);
}
