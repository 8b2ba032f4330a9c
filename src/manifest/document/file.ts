/**
 * Reads one file: YAML text to canonical objects with their positions, and all problems of the file by itself. Depends
 * only on path, text and the files of CIDRs that it names, so that files can be read in any order.
 */
import type { Diagnostic } from "../../model/diagnostic.js";
import { digestOf } from "../../model/digest.js";
import type { Kind, ObjectPosition, Position, ZtapObject } from "../../model/objects.js";
import { refKey, refOf, type StateObject } from "../../model/state.js";
import { CODES } from "../codes.js";
import { CidrFiles, type ReadCidrFile } from "./cidr-files.js";
import { interpret, type Interpreted } from "./kinds.js";
import { DiagnosticList, type Omitted } from "../diagnostic-limit.js";
import { readNulls } from "./nulls.js";
import { formatPath, parsePath, toDiagnostic, type Path, type Problem } from "../problem.js";
import { isMapping, unitsOf } from "./list-items.js";
import type { TextFile } from "../yaml/parse.js";
import { readText, type OffsetOf, type YamlDocument } from "../yaml/read.js";

/** The place of an object: the offset of its YAML document's first key, and the path to the item of a List. */
export interface DocumentPlace {
  readonly offset: number;
  readonly prefix: Path;
}

export interface FileObject {
  readonly key: string;
  readonly state: StateObject;
  readonly place: DocumentPlace;
}

/** A problem that shows only in combination with other objects, and the object that it is reported at. */
export interface PlacedProblem {
  readonly at: FileObject;
  readonly problem: Problem;
}

/** Returns the position of a field of one object, or of its nearest parent that is present. */
export type Locate = (place: DocumentPlace, path: Path, anchor: "key" | "value") => Position;

export interface FileResult {
  readonly objects: readonly FileObject[];
  readonly diagnostics: readonly Diagnostic[];
  /** Number of further problems. */
  readonly omitted: Omitted;
  /** Kinds of which the file may declare objects that could not be read; null: any kind. */
  readonly unread: ReadonlySet<Kind | null>;
}

/** @param cidrFiles the files that NetworkSets may name; absent: none */
export function readFile(file: TextFile, cidrFiles = new CidrFiles([])): FileResult {
  const { documents, refusals, position } = readText(file);
  const reader = new FileReader(file.path, position, (named) => cidrFiles.read(file.path, named));
  for (const { problem, offsetOf } of refusals) reader.refuse(offsetOf, [], problem);
  for (const document of documents) reader.readDocument(document);
  return reader.result();
}

/**
 * Finds positions for problems of the whole state. A file with such a problem is parsed once more: keeping the trees of
 * ten thousand files costs more time and memory than parsing these few again.
 */
export function locator(file: TextFile): Locate {
  const { documents, position } = readText(file);
  // The document of a place is the last one that begins before it.
  return (at, path, anchor) => {
    const document = documents.findLast(({ offset }) => offset <= at.offset);
    return position(document === undefined ? 0 : document.offsetOf([...at.prefix, ...path], anchor));
  };
}

function fileObject(
  object: ZtapObject,
  place: DocumentPlace,
  file: string,
  line: number,
  lines: (direction: "ingress" | "egress") => readonly number[],
): FileObject {
  const ref = refOf(object);
  // Rules of a direction that is not isolated are not part of the object.
  const position: ObjectPosition =
    object.kind === "NetworkPolicy"
      ? {
          file,
          line,
          rules: {
            ingress: object.spec.ingress === undefined ? [] : lines("ingress"),
            egress: object.spec.egress === undefined ? [] : lines("egress"),
          },
        }
      : { file, line };
  return { key: refKey(ref), state: { ref, digest: digestOf(object), object, position }, place };
}

class FileReader {
  readonly #objects: FileObject[] = [];
  readonly #diagnostics = new DiagnosticList();
  readonly #unread = new Set<Kind | null>();
  readonly #reported = new Set<string>();

  constructor(
    readonly path: string,
    readonly position: (offset: number) => Position,
    readonly readCidrFile: ReadCidrFile,
  ) {}

  result(): FileResult {
    const { all, omitted } = this.#diagnostics;
    return { objects: this.#objects, diagnostics: all, omitted, unread: this.#unread };
  }

  readDocument(document: YamlDocument): void {
    this.#report(document.offsetOf, [], [...document.problems, ...document.warnings]);
    // Text behind the limit was not read, so that missing fields cannot be reported.
    if (document.problems.some(({ code }) => code === "aliasLimit" || code === "nestingLimit")) {
      this.#unread.add(null);
      return;
    }
    const isTold = document.tagged.length === 0 ? () => false : pathSet(document.tagged);
    const { units, problems } = unitsOf(document.value);
    for (const problem of problems) if (!isTold(problem.path)) this.refuse(document.offsetOf, [], problem);
    for (const unit of units) {
      const interpreted = interpretUnit(unit.value, document.hasNulls, this.readCidrFile);
      if (interpreted === undefined) {
        const message = "this is not an object of ztap: it must be a mapping with apiVersion, kind and metadata";
        this.refuse(document.offsetOf, unit.prefix, { code: "notAnObject", path: [], message });
        continue;
      }
      const untold = interpreted.problems.filter(({ path }) => !isTold([...unit.prefix, ...path]));
      this.#report(document.offsetOf, unit.prefix, untold);
      this.#diagnostics.omit("error", interpreted.omitted);
      if (interpreted.object === undefined || document.problems.length > 0) this.#unread.add(interpreted.kind);
      else this.#add(document, { offset: document.offset, prefix: unit.prefix }, interpreted.object);
    }
  }

  #add({ offsetOf }: YamlDocument, place: DocumentPlace, object: ZtapObject): void {
    const lineAt = (path: Path): number => this.position(offsetOf([...place.prefix, ...path], "value")).line;
    const lines = (direction: "ingress" | "egress"): readonly number[] => {
      const rules = object.kind === "NetworkPolicy" ? (object.spec[direction] ?? []) : [];
      return rules.map((_, index) => lineAt(["spec", direction, index]));
    };
    this.#objects.push(fileObject(object, place, this.path, lineAt([]), lines));
  }

  refuse(offsetOf: OffsetOf, prefix: Path, problem: Problem): void {
    this.#report(offsetOf, prefix, [problem]);
    this.#unread.add(null);
  }

  /**
   * Two problems at one place are one mistake seen twice; the first one, which is nearer to the text, is more helpful.
   */
  #report(offsetOf: OffsetOf, prefix: Path, problems: readonly Problem[]): void {
    for (const problem of problems) {
      const { severity } = CODES[problem.code];
      if (!this.#diagnostics.hasRoom(severity)) {
        this.#diagnostics.omit(severity, 1);
        continue;
      }
      const path = [...prefix, ...problem.path];
      const offset = problem.offset ?? offsetOf(path, problem.anchor ?? "value");
      const diagnostic = toDiagnostic({ ...problem, path }, this.position(offset));
      const place = `${diagnostic.line}:${diagnostic.column}:${diagnostic.path}:${severity}`;
      if (!this.#reported.has(place)) this.#diagnostics.add(diagnostic);
      this.#reported.add(place);
    }
  }
}

/** Returns a function that tests whether a path is one of these, or below one. */
function pathSet(paths: readonly Path[]): (path: Path) => boolean {
  const texts = new Set(paths.map(formatPath));
  return (path) => texts.size > 0 && path.some((_, index) => texts.has(formatPath(path.slice(0, index + 1))));
}

/** Returns undefined for a value that is not a mapping. */
function interpretUnit(value: unknown, hasNulls: boolean, readCidrFile: ReadCidrFile): Interpreted | undefined {
  if (!isMapping(value)) return undefined;
  if (!hasNulls || value["apiVersion"] !== "networking.k8s.io/v1") return interpret(value, readCidrFile);
  const { value: read, problems } = readNulls(value);
  if (!isMapping(read)) return undefined;
  const interpreted = interpret(read, readCidrFile, value);
  if (interpreted.object === undefined) return interpreted;
  return { ...interpreted, problems: [...interpreted.problems, ...problems] };
}

/**
 * Returns a function from the path of a diagnostic, or of its nearest parent that is present, to its position.
 * @param line that the object begins in
 * @returns undefined if no object begins in that line
 */
export function fieldsOf(file: TextFile, line: number): ((path: string) => Position) | undefined {
  const object = readFile(file).objects.find(({ state }) => state.position?.line === line);
  if (object === undefined) return undefined;
  const locate = locator(file);
  return (path) => locate(object.place, parsePath(path), "key");
}
