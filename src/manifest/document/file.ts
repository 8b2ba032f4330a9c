/**
 * One file: YAML text → canonical objects with their positions, and everything wrong with the file by
 * itself. Depends on nothing but path and text, so the result can be cached for as long as both last.
 */
import type { Document } from "yaml";
import type { Diagnostic } from "../../model/diagnostic.js";
import { digestOf } from "../../model/digest.js";
import type { Kind, ObjectPosition, Position, ZtapObject } from "../../model/objects.js";
import { refKey, refOf, type StateObject } from "../../model/state.js";
import { CODES } from "../codes.js";
import { interpret, type Interpreted } from "./kinds.js";
import { DiagnosticList, type Omitted } from "../diagnostic-limit.js";
import { readNulls } from "./nulls.js";
import { fastOffsetOf, readFast } from "../yaml/fast.js";
import { formatPath, toDiagnostic, type Path, type Problem } from "../problem.js";
import { findDisagreement } from "../yaml/agreement.js";
import { stopProblem, strayProblem, syntaxProblem, warningProblems } from "../yaml/syntax.js";
import { textProblems } from "../yaml/characters.js";
import { isMapping, unitsOf } from "./list-items.js";
import { toValue } from "../yaml/value.js";
import { offsetOf, parseYaml, positionFinder, type TextFile, type YamlFile } from "../yaml/parse.js";

/** Where an object stands: the offset of its YAML document's first key, and the path to the item of a List. */
export interface DocumentPlace {
  readonly offset: number;
  readonly prefix: Path;
}

export interface FileObject {
  readonly key: string;
  readonly state: StateObject;
  readonly place: DocumentPlace;
}

/** A problem that shows only beside other objects, and the object that it is reported at. */
export interface PlacedProblem {
  readonly at: FileObject;
  readonly problem: Problem;
}

export interface FileResult {
  readonly objects: readonly FileObject[];
  readonly diagnostics: readonly Diagnostic[];
  /** Problems beyond those. */
  readonly omitted: Omitted;
  /** Kinds of which the file may declare objects that could not be read; null: of any kind. */
  readonly unread: ReadonlySet<Kind | null>;
}

export function readFile(file: TextFile): FileResult {
  return readDoubtful(file) ?? readQuickly(file) ?? readPlainly(file) ?? readThoroughly(file);
}

/** A file with characters that are shown or read in more than one way: nothing else is said of it. */
function readDoubtful(file: TextFile): FileResult | undefined {
  const problems = textProblems(file.text);
  if (problems.length === 0) return undefined;
  const reader = new FileReader(file);
  for (const problem of problems) reader.refuse({ locate: () => 0 }, [], problem);
  return reader.result();
}

/** A file without any problem, and nothing unusual in its text; undefined for all others. */
function readQuickly(file: TextFile): FileResult | undefined {
  const documents = readFast(file.text);
  if (documents === undefined) return undefined;
  const position = positionFinder(file);
  const lineAt = (offset: number): number => position(offset).line;
  const objects: FileObject[] = [];
  for (const { value, hasNulls, offset, itemOffsets } of documents) {
    const { units, problems } = unitsOf(value);
    if (problems.length > 0) return undefined;
    for (const unit of units) {
      const interpreted = interpretUnit(unit.value, hasNulls);
      if (interpreted?.object === undefined || interpreted.problems.length > 0) return undefined;
      const start =
        unit.list === undefined ? offset : (itemOffsets.get(unit.list)?.[Number(unit.prefix.at(-1))] ?? offset);
      const spec = isMapping(unit.value) && isMapping(unit.value["spec"]) ? unit.value["spec"] : {};
      const lines = (direction: string): readonly number[] => (itemOffsets.get(spec[direction]) ?? []).map(lineAt);
      objects.push(fileObject(interpreted.object, { offset, prefix: unit.prefix }, file.path, lineAt(start), lines));
    }
  }
  return { objects, diagnostics: [], omitted: { error: 0, warning: 0 }, unread: new Set() };
}

/** A file with problems, and nothing unusual in its text; undefined for all others. */
function readPlainly(file: TextFile): FileResult | undefined {
  const documents = readFast(file.text, true);
  if (documents === undefined) return undefined;
  const reader = new FileReader(file);
  for (const document of documents) {
    reader.readValue({ ...document, problems: [], locate: (...field) => fastOffsetOf(document, ...field) });
  }
  return reader.result();
}

function fileObject(
  object: ZtapObject,
  place: DocumentPlace,
  file: string,
  line: number,
  lines: (direction: "ingress" | "egress") => readonly number[],
): FileObject {
  const ref = refOf(object);
  // Rules of a direction that is not isolated are no part of the object.
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

function readThoroughly(file: TextFile): FileResult {
  const yaml = parseYaml(file);
  const reader = new FileReader(file);
  const start: Located = { locate: () => 0 };
  const documents = yaml.documents.flatMap((document) => readYamlDocument(reader, document, file.text, yaml.position));
  for (const error of yaml.errors) reader.refuse(start, [], strayProblem(error));
  if (yaml.stopped !== null) reader.refuse(start, [], stopProblem(yaml.stopped));
  // Where anything is wrong already, the file is refused whatever another reader says.
  const isClean = reader.isClean && documents.every(({ problems }) => problems.length === 0);
  const values = documents.map(({ value }) => value);
  const difference = isClean ? findDisagreement(file.text, values) : undefined;
  if (difference !== undefined) {
    const place = documents[difference.document ?? -1] ?? start;
    reader.refuse(place, [], difference.problem);
    return reader.result();
  }
  for (const document of documents) reader.readValue(document);
  return reader.result();
}

/** None for a document that holds nothing, or no YAML. */
function readYamlDocument(
  reader: FileReader,
  document: Document.Parsed,
  text: string,
  position: YamlFile["position"],
): readonly LocatedValue[] {
  const locate: Located["locate"] = (path, anchor) => offsetOf(document, path, anchor);
  const syntax = syntaxProblem(document, text, position);
  if (syntax !== undefined) {
    reader.refuse({ locate }, [], syntax);
    return [];
  }
  if (document.contents === null) return [];
  const { value, hasNulls, problems, warnings, tagged } = toValue(document);
  const all = [...warningProblems(document), ...problems];
  if (value === null && all.length === 0) return [];
  return [{ value, hasNulls, problems: all, warnings, tagged, offset: locate([], "value"), locate }];
}

interface Located {
  /** Offset of a field, or of the key of its nearest parent that is there. */
  readonly locate: (path: Path, anchor: "key" | "value") => number;
}

/** The value of one YAML document, whichever parser read it. */
interface LocatedValue extends Located {
  readonly value: unknown;
  readonly hasNulls: boolean;
  readonly offset: number;
  /** What was wrong with the text; where there is anything, no object comes of the document. */
  readonly problems: readonly Problem[];
  readonly warnings?: readonly Problem[];
  /** Values of which nothing more is said. */
  readonly tagged?: readonly Path[];
}

class FileReader {
  readonly #objects: FileObject[] = [];
  readonly #diagnostics = new DiagnosticList();
  readonly #unread = new Set<Kind | null>();
  readonly #reported = new Set<string>();
  readonly #position: (offset: number) => Position;

  constructor(readonly file: TextFile) {
    this.#position = positionFinder(file);
  }

  get isClean(): boolean {
    return this.#diagnostics.all.length === 0;
  }

  result(): FileResult {
    const { all, omitted } = this.#diagnostics;
    return { objects: this.#objects, diagnostics: all, omitted, unread: this.#unread };
  }

  readValue(document: LocatedValue): void {
    this.#report(document, [], [...document.problems, ...(document.warnings ?? [])]);
    // Nothing behind the limit was read, so nothing can be said of what the document lacks.
    if (document.problems.some(({ code }) => code === "aliasLimit" || code === "nestingLimit")) {
      this.#unread.add(null);
      return;
    }
    const isTold = pathSet(document.tagged ?? []);
    const { units, problems } = unitsOf(document.value);
    for (const problem of problems) if (!isTold(problem.path)) this.refuse(document, [], problem);
    for (const unit of units) {
      const interpreted = interpretUnit(unit.value, document.hasNulls);
      if (interpreted === undefined) {
        const message = "this is no object of ztap: a mapping with apiVersion, kind and metadata is wanted";
        this.refuse(document, unit.prefix, { code: "notAnObject", path: [], message });
        continue;
      }
      const untold = interpreted.problems.filter(({ path }) => !isTold([...unit.prefix, ...path]));
      this.#report(document, unit.prefix, untold);
      this.#diagnostics.omit("error", interpreted.omitted);
      if (interpreted.object === undefined || document.problems.length > 0) this.#unread.add(interpreted.kind);
      else this.#add(document, { offset: document.offset, prefix: unit.prefix }, interpreted.object);
    }
  }

  #add({ locate }: Located, place: DocumentPlace, object: ZtapObject): void {
    const lineAt = (path: Path): number => this.#position(locate([...place.prefix, ...path], "value")).line;
    const lines = (direction: "ingress" | "egress"): readonly number[] => {
      const rules = object.kind === "NetworkPolicy" ? (object.spec[direction] ?? []) : [];
      return rules.map((_, index) => lineAt(["spec", direction, index]));
    };
    this.#objects.push(fileObject(object, place, this.file.path, lineAt([]), lines));
  }

  refuse(document: Located, prefix: Path, problem: Problem): void {
    this.#report(document, prefix, [problem]);
    this.#unread.add(null);
  }

  /** Two problems at one place are one mistake seen twice; the first, which is nearer to the text, tells more. */
  #report({ locate }: Located, prefix: Path, problems: readonly Problem[]): void {
    for (const problem of problems) {
      const { severity } = CODES[problem.code];
      if (!this.#diagnostics.hasRoom(severity)) {
        this.#diagnostics.omit(severity, 1);
        continue;
      }
      const path = [...prefix, ...problem.path];
      const offset = problem.offset ?? locate(path, problem.anchor ?? "value");
      const diagnostic = toDiagnostic({ ...problem, path }, this.#position(offset));
      const place = `${diagnostic.line}:${diagnostic.column}:${diagnostic.path}:${severity}`;
      if (!this.#reported.has(place)) this.#diagnostics.add(diagnostic);
      this.#reported.add(place);
    }
  }
}

/** Whether a path is one of these, or lies below one. */
function pathSet(paths: readonly Path[]): (path: Path) => boolean {
  const texts = new Set(paths.map(formatPath));
  return (path) => texts.size > 0 && path.some((_, index) => texts.has(formatPath(path.slice(0, index + 1))));
}

/** Undefined for what is no mapping. */
function interpretUnit(value: unknown, hasNulls: boolean): Interpreted | undefined {
  if (!isMapping(value)) return undefined;
  if (!hasNulls || value["apiVersion"] !== "networking.k8s.io/v1") return interpret(value);
  const { value: read, problems } = readNulls(value);
  if (!isMapping(read)) return undefined;
  const interpreted = interpret(read, value);
  if (interpreted.object === undefined) return interpreted;
  return { ...interpreted, problems: [...interpreted.problems, ...problems] };
}
