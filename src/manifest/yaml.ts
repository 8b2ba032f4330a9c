/**
 * YAML text → documents: the tree with its source offsets, and what is wrong with the text.
 * The rest of the manifest stage sees plain values, and comes back here only for positions.
 */
import { isAlias, isMap, isPair, isScalar, isSeq, parseAllDocuments, type Document } from "yaml";
import type { Position } from "../model/objects.js";
import type { Path } from "./problem.js";

export interface TextFile {
  readonly path: string;
  readonly text: string;
}

export interface YamlFile {
  readonly path: string;
  readonly documents: readonly Document.Parsed[];
  position(offset: number): Position;
}

/** Duplicate keys are found while values are built, so that they do not hide the document's other problems. */
const OPTIONS = { version: "1.2", uniqueKeys: false, prettyErrors: false, logLevel: "silent" } as const;

/** @throws RangeError where the text is nested deeper than the stack. */
export function parseYaml(file: TextFile): YamlFile {
  const parsed = parseAllDocuments(file.text, OPTIONS);
  return { path: file.path, documents: Array.isArray(parsed) ? parsed : [], position: positionFinder(file) };
}

/** Offset → position; the lines are counted when the first one is asked for. */
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

/** Binary search for the last line that starts at or before the offset. */
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

/** Where a node of the tree begins; undefined for an absent one. */
export function nodeOffset(node: unknown): number | undefined {
  return node !== null && typeof node === "object" && "range" in node && Array.isArray(node.range)
    ? Number(node.range[0])
    : undefined;
}

/**
 * Offset of a field. Where the path leads to nothing, the key of the last field that exists is
 * pointed at, which is the parent of the missing one.
 */
export function offsetOf(document: Document.Parsed, path: Path, anchor: "key" | "value"): number {
  let node: unknown = document.contents;
  let key: number | undefined;
  let value = nodeOffset(node);
  for (const step of path) {
    if (isAlias(node)) node = node.resolve(document);
    const next = child(node, step);
    if (next === undefined) return key ?? value ?? document.range[0];
    key = next.key ?? nodeOffset(next.value);
    // An empty value has no place of its own worth pointing at.
    value = isScalar(next.value) && next.value.source === "" ? key : (nodeOffset(next.value) ?? key);
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
  const pair = node.items.find((item) => isPair(item) && keyText(item.key) === String(step));
  return pair === undefined ? undefined : { key: nodeOffset(pair.key), value: pair.value };
}

/** The text of a key that is a scalar; numbers and the like are taken as they are written. */
export function keyText(key: unknown): string | undefined {
  if (typeof key === "string") return key;
  if (!isScalar(key)) return undefined;
  if (typeof key.value === "string") return key.value;
  return key.value === null ? undefined : key.source;
}
