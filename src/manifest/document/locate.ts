/** Fields of one object → positions in the file that it was read from; for problems that were found after it was stored. */
import type { Position } from "../../model/objects.js";
import { readFile, type DocumentPlace } from "./file.js";
import { fastOffsetOf, readFast } from "../yaml/fast.js";
import { parsePath, type Path } from "../problem.js";
import { offsetOf, parseYaml, positionFinder, type TextFile } from "../yaml/parse.js";

export type Locate = (place: DocumentPlace, path: Path, anchor: "key" | "value") => Position;

/** The file is parsed once more; it must have been read without a problem in its text. */
export function locator(file: TextFile): Locate {
  const plain = readFast(file.text, true);
  const position = positionFinder(file);
  if (plain !== undefined) {
    return (at, path, anchor) => {
      const document = plain.findLast(({ offset }) => offset <= at.offset);
      return position(document === undefined ? 0 : fastOffsetOf(document, [...at.prefix, ...path], anchor));
    };
  }
  const { documents } = parseYaml(file);
  return (at, path, anchor) => {
    const document = documents.findLast(({ range }) => range[0] <= at.offset);
    return position(document === undefined ? 0 : offsetOf(document, [...at.prefix, ...path], anchor));
  };
}

/**
 * @param line that the object begins in
 * @returns from the path of a diagnostic, or of its nearest parent that is there; undefined where no object begins there
 */
export function fieldsOf(file: TextFile, line: number): ((path: string) => Position) | undefined {
  const object = readFile(file).objects.find(({ state }) => state.position?.line === line);
  if (object === undefined) return undefined;
  const locate = locator(file);
  return (path) => locate(object.place, parsePath(path), "key");
}
