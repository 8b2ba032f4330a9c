/**
 * What is wrong with the text of one YAML document, and how to mend it. The parser says what it could not
 * read, and where; what the author most likely did is told by looking at the text there.
 */
import { isCollection, visit, type Document, type YAMLError } from "yaml";
import type { Problem } from "./problem.js";
import { nodeOffset } from "./yaml.js";

/** Only the first: what follows a syntax error is mostly its echo. */
export function syntaxProblem(document: Document.Parsed, text: string): Problem | undefined {
  const { version, explicit } = document.directives.yaml;
  if (explicit === true && version !== "1.2") {
    return {
      code: "yamlSyntax",
      path: [],
      offset: document.range[0],
      message: `the document asks for YAML ${version}, in which yes, no and 010 mean other things`,
      found: version,
      wanted: "YAML 1.2",
      fix: "remove the %YAML line",
    };
  }
  const error = [...document.errors].sort((a, b) => a.pos[0] - b.pos[0])[0];
  if (error === undefined) return undefined;
  if (error.code === "RESOURCE_EXHAUSTION") {
    const message = "the document is nested deeper than it can be read";
    return { code: "nestingLimit", path: [], offset: document.range[0], message };
  }
  const fix = FIXES[error.code]?.({ document, text, offset: error.pos[0] });
  return {
    code: "yamlSyntax",
    path: [],
    offset: error.pos[0],
    message: `this is not YAML: ${firstLine(error.message)}`,
    ...(fix === undefined ? {} : { fix }),
  };
}

export function tagProblems(document: Document.Parsed): readonly Problem[] {
  return document.warnings.map((warning) => ({
    code: warning.code === "TAG_RESOLVE_FAILED" ? "unknownTag" : "yamlSyntax",
    path: [],
    offset: warning.pos[0],
    message: firstLine(warning.message),
    fix: "remove the tag",
  }));
}

const firstLine = (text: string): string => text.split("\n", 1)[0] ?? text;

/** Where the parser gave up. */
interface Spot {
  readonly document: Document.Parsed;
  readonly text: string;
  readonly offset: number;
}

const columnOrKey = ({ document, text, offset }: Spot): string =>
  unclosed(document, text, offset) ?? keyFix(text, offset);

const FIXES: Readonly<Partial<Record<YAMLError["code"], (spot: Spot) => string | undefined>>> = {
  TAB_AS_INDENT: () => "indent with spaces in place of tabs",
  BAD_SCALAR_START: () => "put the value in quotes",
  BAD_DQ_ESCAPE: () => "write \\\\ for a backslash, or use single quotes",
  BLOCK_AS_IMPLICIT_KEY: ({ text, offset }) =>
    /:(\s|$)/.test(lineFrom(text, offset))
      ? "put the value in quotes if it holds a colon; else begin each field on a line of its own"
      : "begin the next line in the column of the field above it: a field that has a value holds no others",
  UNEXPECTED_TOKEN: ({ text, offset }) => unexpectedFix(text, offset),
  MISSING_CHAR: columnOrKey,
  MULTILINE_IMPLICIT_KEY: columnOrKey,
  BAD_INDENT: columnOrKey,
};

function unexpectedFix(text: string, offset: number): string | undefined {
  if (/^[\]}]/.test(text.slice(offset, offset + 1))) return `remove the ${text.charAt(offset)}, or open what it closes`;
  const before = text.slice(text.lastIndexOf("\n", offset - 1) + 1, offset);
  if (before.trim() === "") return keyFix(text, offset);
  return /["']/.test(before) ? "put the whole value in one pair of quotes" : undefined;
}

/** The quote or the bracket that is opened before the offset and closed nowhere. */
function unclosed(document: Document.Parsed, text: string, offset: number): string | undefined {
  let found: string | undefined;
  visit(document, (_, node) => {
    const start = nodeOffset(node);
    if (start === undefined || start >= offset) return;
    const opening = text.charAt(start);
    const closing = { '"': '"', "'": "'", "[": "]", "{": "}" }[opening];
    if (closing === undefined || (isCollection(node) && node.flow !== true)) return;
    const end = endOf(node);
    if (end - start >= 2 && text.charAt(end - 1) === closing) return;
    found = `close the ${opening} of line ${text.slice(0, start).split("\n").length} with ${closing}`;
  });
  return found;
}

/** Behind the last character of the node's own. */
function endOf(node: unknown): number {
  return node !== null && typeof node === "object" && "range" in node && Array.isArray(node.range)
    ? Number(node.range[1])
    : 0;
}

/** A line that is no field, where one is wanted. */
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
