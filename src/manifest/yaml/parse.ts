/**
 * Parses YAML text into documents: the tree with its source offsets, and the problems of the text. The rest of the
 * manifest stage uses plain values, and needs this module only for positions.
 */
import {
  Composer,
  Lexer,
  Parser,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  visit,
  type Alias,
  type Document,
  type Pair,
  type YAMLError,
  type YAMLMap,
} from "yaml";
import type { Position } from "../../model/objects.js";
import type { Path } from "../problem.js";

export interface TextFile {
  readonly path: string;
  readonly text: string;
}

export interface YamlFile {
  readonly path: string;
  readonly documents: readonly Document.Parsed[];
  /** Errors outside every document. */
  readonly errors: readonly YAMLError[];
  /** The place where reading stopped, and the reason; null if the whole text was read. */
  readonly stopped: Stop | null;
  readonly position: (offset: number) => Position;
}

export interface Stop {
  readonly offset: number;
  readonly why: "pieces" | "documents" | "errors" | "depth";
}

/**
 * Limits of the cost of reading: time grows with the tokens that the lexer finds (words, brackets, breaks), with
 * documents and with errors. A megabyte of ordinary policies has 550,000 tokens and 6,000 documents.
 */
export const TEXT_LIMITS = { pieces: 600_000, documents: 20_000, errors: 1_000, depth: 400 } as const;

/**
 * Duplicate keys are found while values are built, so that they do not hide the document's other problems. Tags beyond
 * the core schema are unknown: `!!set` or `!!binary` would change the value.
 */
const OPTIONS = {
  version: "1.2",
  uniqueKeys: false,
  prettyErrors: false,
  logLevel: "silent",
  resolveKnownTags: false,
} as const;

export function parseYaml(file: TextFile): YamlFile {
  // The parser makes an Error for each syntax error, half a million in the worst megabyte; their unused stack traces
  // would take three quarters of the time.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    return parseBounded(file);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function parseBounded(file: TextFile): YamlFile {
  const parser = new Parser();
  const composer = new Composer(OPTIONS);
  const documents: Document.Parsed[] = [];
  let stopped: Stop | null = null;
  let [pieces, errors, broken] = [0, 0, 0];
  const take = (composed: Iterable<Document.Parsed>): void => {
    for (const document of composed) {
      documents.push(document);
      if (document.errors.length > 0) broken += 1;
    }
  };
  for (const piece of new Lexer().lex(file.text)) {
    for (const token of parser.next(piece)) {
      if (token.type === "error") errors += 1;
      take(composer.next(token));
    }
    pieces += 1;
    const counts = {
      pieces,
      documents: documents.length,
      errors: Math.max(errors, broken),
      depth: parser.stack.length,
    };
    const why = (["pieces", "documents", "errors", "depth"] as const).find((each) => counts[each] > TEXT_LIMITS[each]);
    if (why !== undefined) {
      stopped = { offset: parser.offset, why };
      break;
    }
  }
  if (stopped === null) for (const token of parser.end()) take(composer.next(token));
  if (stopped === null) take(composer.end());
  const { errors: outside } = composer.streamInfo();
  return { path: file.path, documents, errors: outside, stopped, position: positionFinder(file) };
}

/** Returns a function from offsets to positions; the lines are counted on first use. */
export function positionFinder(file: TextFile): (offset: number) => Position {
  let starts: readonly number[] | undefined;
  return (offset) => {
    starts ??= lineStarts(file.text);
    const line = lineOf(starts, offset);
    return { file: file.path, line, column: offset - (starts[line - 1] ?? 0) + 1 };
  };
}

function lineStarts(text: string): readonly number[] {
  const starts = [0];
  for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) starts.push(at + 1);
  return starts;
}

/** Finds the last line that starts at or before the offset, by binary search. */
function lineOf(starts: readonly number[], offset: number): number {
  let low = 0;
  let high = starts.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((starts[middle] ?? 0) <= offset) low = middle;
    else high = middle;
  }
  return low + 1;
}

/** Returns the offset where a node of the tree begins; undefined for an absent one. */
export function nodeOffset(node: unknown): number | undefined {
  return node !== null && typeof node === "object" && "range" in node && Array.isArray(node.range)
    ? Number(node.range[0])
    : undefined;
}

/**
 * Returns the offset of a field. If the path does not exist, it is the key of the last field that exists, the parent of
 * the missing one.
 */
export function offsetOf(document: Document.Parsed, path: Path, anchor: "key" | "value"): number {
  let node: unknown = document.contents;
  let key: number | undefined;
  let value = nodeOffset(node);
  for (const step of path) {
    if (isAlias(node)) node = targetsOf(document).get(node);
    const next = child(node, step);
    if (next === undefined) return key ?? value ?? document.range[0];
    key = next.key ?? nodeOffset(next.value);
    // An empty value has no useful position of its own.
    value =
      isScalar(next.value) && next.value.source === "" && next.value.type === "PLAIN"
        ? key
        : (nodeOffset(next.value) ?? key);
    node = next.value;
  }
  return (anchor === "key" ? key : value) ?? value ?? document.range[0];
}

function child(
  node: unknown,
  step: string | number,
): { readonly key: number | undefined; readonly value: unknown } | undefined {
  if (isSeq(node) && typeof step === "number") {
    return step < node.items.length ? { key: undefined, value: node.items[step] } : undefined;
  }
  if (!isMap(node)) return undefined;
  const pair = pairsOf(node).get(String(step));
  return pair === undefined ? undefined : { key: nodeOffset(pair.key), value: pair.value };
}

/** The targets of the aliases of a document; found in one walk, since a problem may be behind each of them. */
const TARGETS = new WeakMap<Document.Parsed, ReadonlyMap<Alias, unknown>>();

function targetsOf(document: Document.Parsed): ReadonlyMap<Alias, unknown> {
  const known = TARGETS.get(document);
  if (known !== undefined) return known;
  const anchors = new Map<string, unknown>();
  const targets = new Map<Alias, unknown>();
  visit(document, {
    Node(_, node) {
      if (isAlias(node)) targets.set(node, anchors.get(node.source));
      else if (node.anchor !== undefined) anchors.set(node.anchor, node);
    },
  });
  TARGETS.set(document, targets);
  return targets;
}

/**
 * The pairs of a mapping by key, the first of each; computed once, since a mapping may have as many problems as fields.
 */
const PAIRS = new WeakMap<YAMLMap, ReadonlyMap<string, Pair>>();

function pairsOf(map: YAMLMap): ReadonlyMap<string, Pair> {
  const known = PAIRS.get(map);
  if (known !== undefined) return known;
  const pairs = new Map<string, Pair>();
  for (const pair of map.items) {
    const key = isPair(pair) ? keyText(pair.key) : undefined;
    if (key !== undefined && !pairs.has(key)) pairs.set(key, pair);
  }
  PAIRS.set(map, pairs);
  return pairs;
}

/** Returns the text of a scalar key; numbers and other scalars are taken as they are written. */
export function keyText(key: unknown): string | undefined {
  if (typeof key === "string") return key;
  if (!isScalar(key)) return undefined;
  if (typeof key.value === "string") return key.value;
  return key.value === null ? undefined : key.source;
}
