/**
 * One file: YAML text → canonical objects with their positions, and everything wrong with the file by
 * itself. Depends on nothing but path and text, so the result can be cached for as long as both last.
 */
import type { Document, ParsedNode } from "yaml";
import type { Diagnostic } from "../model/diagnostic.js";
import { digestOf } from "../model/digest.js";
import type { Kind, ObjectPosition } from "../model/objects.js";
import { refKey, refOf, type StateObject } from "../model/state.js";
import { interpret } from "./kinds.js";
import { toDiagnostic, type Path, type Problem } from "./problem.js";
import { toValue, withoutNulls } from "./value.js";
import { offsetOf, parseYaml, type TextFile, type YamlFile } from "./yaml.js";

/** Where a document stands: the index of the YAML document in its file, and the path to the item of a List. */
export interface DocumentPlace {
  readonly index: number;
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
  /** Kinds of which the file may declare objects that could not be read; null: of any kind. */
  readonly unread: ReadonlySet<Kind | null>;
}

export function readFile(file: TextFile): FileResult {
  let yaml: YamlFile;
  try {
    yaml = parseYaml(file);
  } catch (error) {
    // The parser recurses; nothing that means anything to ztap is nested that deeply.
    if (!(error instanceof RangeError)) throw error;
    const problem: Problem = {
      code: "nestingLimit",
      path: [],
      message: "the file is nested deeper than it can be read",
    };
    return {
      objects: [],
      diagnostics: [toDiagnostic(problem, { file: file.path, line: 1, column: 1 })],
      unread: new Set([null]),
    };
  }
  const reader = new FileReader(yaml);
  yaml.documents.forEach((document, index) => reader.readDocument(document, index));
  return reader;
}

class FileReader implements FileResult {
  readonly objects: FileObject[] = [];
  readonly diagnostics: Diagnostic[] = [];
  readonly unread = new Set<Kind | null>();

  readonly #reported = new Set<string>();

  constructor(readonly yaml: YamlFile) {}

  readDocument(document: Document.Parsed<ParsedNode>, index: number): void {
    const syntax = syntaxProblem(document);
    if (syntax !== undefined) return this.#refuse(document, [syntax]);
    if (document.contents === null) return;
    const { value, hasNulls, problems } = toValue(document);
    if (value === null && problems.length === 0) return;
    this.#report(document, [], [...tagProblems(document), ...problems]);
    this.#readValue(document, { index, prefix: [] }, value, hasNulls, problems.length > 0);
  }

  #readValue(
    document: Document.Parsed<ParsedNode>,
    place: DocumentPlace,
    value: unknown,
    hasNulls: boolean,
    spoilt: boolean,
  ): void {
    if (!isMapping(value)) {
      return this.#refuse(document, [
        {
          code: "notAnObject",
          path: place.prefix,
          message: "this is no object of ztap: a mapping with apiVersion, kind and metadata is wanted",
        },
      ]);
    }
    const list = listItems(value);
    if (list !== undefined) {
      list.forEach((item, at) =>
        this.#readValue(document, { ...place, prefix: [...place.prefix, "items", at] }, item, hasNulls, spoilt),
      );
      return;
    }
    const kubernetes = value["apiVersion"] === "networking.k8s.io/v1";
    const cleaned = kubernetes && hasNulls ? withoutNulls(value) : value;
    const { object, problems, kind } = interpret(isMapping(cleaned) ? cleaned : value);
    this.#report(document, place.prefix, problems);
    if (object === undefined || spoilt) {
      this.unread.add(kind);
      return;
    }
    const ref = refOf(object);
    const position = this.#position(document, place.prefix, object.kind === "NetworkPolicy" ? object.spec : undefined);
    this.objects.push({ key: refKey(ref), state: { ref, digest: digestOf(object), object, position }, place });
  }

  #position(
    document: Document.Parsed<ParsedNode>,
    prefix: Path,
    spec: { readonly ingress?: readonly unknown[]; readonly egress?: readonly unknown[] } | undefined,
  ): ObjectPosition {
    const lineAt = (path: Path): number => this.yaml.position(offsetOf(document, [...prefix, ...path], "value")).line;
    const { path: file } = this.yaml;
    if (spec === undefined) return { file, line: lineAt([]) };
    const ingress = (spec.ingress ?? []).map((_, index) => lineAt(["spec", "ingress", index]));
    const egress = (spec.egress ?? []).map((_, index) => lineAt(["spec", "egress", index]));
    return { file, line: lineAt([]), rules: { ingress, egress } };
  }

  #refuse(document: Document.Parsed<ParsedNode>, problems: readonly Problem[]): void {
    this.#report(document, [], problems);
    this.unread.add(null);
  }

  /** Two problems at one place are one mistake seen twice; the first, which is nearer to the text, tells more. */
  #report(document: Document.Parsed<ParsedNode>, prefix: Path, problems: readonly Problem[]): void {
    for (const problem of problems) {
      const path = [...prefix, ...problem.path];
      const offset = problem.offset ?? offsetOf(document, path, problem.anchor ?? "value");
      const diagnostic = toDiagnostic({ ...problem, path }, this.yaml.position(offset));
      const place = `${diagnostic.line}:${diagnostic.column}:${diagnostic.path}:${diagnostic.severity}`;
      if (!this.#reported.has(place)) this.diagnostics.push(diagnostic);
      this.#reported.add(place);
    }
  }
}

const isMapping = (value: unknown): value is Readonly<Record<string, unknown>> =>
  value !== null && typeof value === "object" && !Array.isArray(value);

/** The items of what `kubectl get -o yaml` prints; undefined for any other document. */
function listItems(value: Readonly<Record<string, unknown>>): readonly unknown[] | undefined {
  const { apiVersion, kind, items } = value;
  const list =
    (apiVersion === "v1" && kind === "List") || (apiVersion === "networking.k8s.io/v1" && kind === "NetworkPolicyList");
  return list && Array.isArray(items) ? items : undefined;
}

/** Only the first: what follows a syntax error is mostly its echo. */
function syntaxProblem(document: Document.Parsed<ParsedNode>): Problem | undefined {
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
  return {
    code: "yamlSyntax",
    path: [],
    offset: error.pos[0],
    message: `this is not YAML: ${firstLine(error.message)}`,
  };
}

function tagProblems(document: Document.Parsed<ParsedNode>): readonly Problem[] {
  return document.warnings.map((warning) => ({
    code: warning.code === "TAG_RESOLVE_FAILED" ? "unknownTag" : "yamlSyntax",
    path: [],
    offset: warning.pos[0],
    message: firstLine(warning.message),
    fix: "remove the tag",
  }));
}

const firstLine = (text: string): string => text.split("\n", 1)[0] ?? text;
