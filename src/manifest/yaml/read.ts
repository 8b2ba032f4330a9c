/**
 * The text stage: reads the text of one file into the values of its YAML documents, each with a way back from a path to
 * an offset, and all problems of the text. The first step that accepts the text reads it:
 *
 *  1. Text with characters that programs show or read in more than one way is refused (characters.ts).
 *  2. Text with one meaning to every parser goes through the fast reader (gate.ts, fast.ts).
 *  3. All other text goes through `yaml`, and js-yaml must read the same values (parse.ts, agreement.ts).
 */
import type { Document } from "yaml";
import type { Position } from "../../model/objects.js";
import type { Path, Problem } from "../problem.js";
import { findDisagreement } from "./agreement.js";
import { textProblems } from "./characters.js";
import { fastOffsetOf, readFast, type FastDocument } from "./fast.js";
import { offsetOf, parseYaml, positionFinder, type TextFile, type YamlFile } from "./parse.js";
import { stopProblem, strayProblem, syntaxProblem, warningProblems } from "./syntax.js";
import { toValue } from "./value.js";

/** Returns the offset of a field, or of the key of its nearest parent that is present. */
export type OffsetOf = (path: Path, anchor: "key" | "value") => number;

export interface YamlDocument {
  readonly value: unknown;
  readonly hasNulls: boolean;
  /** Of the first key. */
  readonly offset: number;
  /** Errors of the text; a document with errors gives no object. */
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
  /** Values with a tag that was reported; they get no further diagnostics. */
  readonly tagged: readonly Path[];
  readonly offsetOf: OffsetOf;
}

/** A problem of the text as a whole, or of a document without a value. */
export interface TextRefusal {
  readonly problem: Problem;
  readonly offsetOf: OffsetOf;
}

export interface YamlText {
  /** Documents without content are left out. */
  readonly documents: readonly YamlDocument[];
  readonly refusals: readonly TextRefusal[];
  readonly position: (offset: number) => Position;
}

const atStart: OffsetOf = () => 0;

export function readText(file: TextFile): YamlText {
  const doubtful = textProblems(file.text);
  if (doubtful.length > 0) {
    const refusals = doubtful.map((problem) => ({ problem, offsetOf: atStart }));
    return { documents: [], refusals, position: positionFinder(file) };
  }
  const documents = readFast(file.text)?.map(fromFast);
  if (documents !== undefined) return { documents, refusals: [], position: positionFinder(file) };
  return readThoroughly(file);
}

function fromFast(document: FastDocument): YamlDocument {
  const { value, hasNulls, offset } = document;
  const offsetOf: OffsetOf = (path, anchor) => fastOffsetOf(document, path, anchor);
  return { value, hasNulls, offset, problems: [], warnings: [], tagged: [], offsetOf };
}

function readThoroughly(file: TextFile): YamlText {
  const yaml = parseYaml(file);
  const refusals: TextRefusal[] = [];
  const documents = yaml.documents.flatMap((document) => readDocument(document, file.text, yaml.position, refusals));
  for (const error of yaml.errors) refusals.push({ problem: strayProblem(error), offsetOf: atStart });
  if (yaml.stopped !== null) refusals.push({ problem: stopProblem(yaml.stopped), offsetOf: atStart });
  // A file with problems is refused, even if another parser accepts it.
  const isClean = refusals.length === 0 && documents.every(({ problems }) => problems.length === 0);
  const values = documents.map(({ value }) => value);
  const difference = isClean ? findDisagreement(file.text, values) : undefined;
  if (difference === undefined) return { documents, refusals, position: yaml.position };
  const { offsetOf = atStart } = documents[difference.document ?? -1] ?? {};
  return { documents: [], refusals: [{ problem: difference.problem, offsetOf }], position: yaml.position };
}

/** Returns no document for one without content, or without valid YAML. */
function readDocument(
  document: Document.Parsed,
  text: string,
  position: YamlFile["position"],
  refusals: TextRefusal[],
): readonly YamlDocument[] {
  const locate: OffsetOf = (path, anchor) => offsetOf(document, path, anchor);
  const syntax = syntaxProblem(document, text, position);
  if (syntax !== undefined) {
    refusals.push({ problem: syntax, offsetOf: locate });
    return [];
  }
  if (document.contents === null) return [];
  const { value, hasNulls, problems, warnings, tagged } = toValue(document);
  const all = [...warningProblems(document), ...problems];
  if (value === null && all.length === 0) return [];
  return [{ value, hasNulls, offset: locate([], "value"), problems: all, warnings, tagged, offsetOf: locate }];
}
