/**
 * Reads files into a desired state and reports all problems, in one run.
 *
 * Pure: takes texts, touches no file system, throws for no input. Objects appear only for documents without errors; on
 * a diagnostic of severity `error` the caller must refuse the whole state.
 */
import { isCidrFile } from "../model/cidr-file.js";
import { hasErrors, type Diagnostic } from "../model/diagnostic.js";
import type { Kind, Position } from "../model/objects.js";
import type { ObjectSet } from "../model/state.js";
import { CidrFiles } from "./document/cidr-files.js";
import { locator, readFile, type FileResult, type PlacedProblem } from "./document/file.js";
import { limitDiagnostics } from "./diagnostic-limit.js";
import type { Capacities } from "./state/capacity.js";
import { checkState } from "./state/check.js";
import { toDiagnostic } from "./problem.js";

/** A file as a Source yields it. */
export interface ManifestFile {
  readonly path: string;
  readonly text: string;
  readonly blobId: string;
  /** Present if its text could not be read, with the reason. */
  readonly unread?: { readonly reason: "too-large" | "not-utf8" | "denied"; readonly message: string };
}

export interface Manifests {
  /** In the order of the keys. */
  readonly objects: ObjectSet;
  /** By file, line and column; at most a thousand. If there are more, the last one gives their number. */
  readonly diagnostics: readonly Diagnostic[];
  /** Number of further problems. */
  readonly omitted: number;
}

export interface ReadOptions {
  /** The limits and features of the nodes' backends; a state that exceeds them is refused. Absent: no limits. */
  readonly capacities?: Capacities;
  /** Paths of files that were skipped because they are symbolic links or submodules; each gets a warning. */
  readonly skipped?: readonly string[];
}

/** Reads files as `readManifests` does; a reader outside this process may refuse them with a SourceError `too-large`. */
export type ManifestReader = (files: readonly ManifestFile[]) => Manifests | Promise<Manifests>;

/** Turns text into documents and schema-checked objects for each file, then runs the checks of the whole state. */
export function readManifests(files: readonly ManifestFile[], options: ReadOptions = {}): Manifests {
  const cidrFiles = new CidrFiles(files.filter(({ path }) => isCidrFile(path)));
  const manifests = files.filter(({ path }) => !isCidrFile(path));
  const results = manifests.map((file) => readOrRefuse(file, cidrFiles));
  const fromFiles = [...results.flatMap(({ diagnostics }) => diagnostics), ...cidrFiles.diagnostics];
  const { objects, problems } = checkState(
    results.flatMap((result) => result.objects),
    {
      unread: new Set<Kind | null>(results.flatMap(({ unread }) => [...unread])),
      hasErrors: hasErrors(fromFiles),
      capacities: options.capacities ?? null,
    },
  );
  const diagnostics = [...fromFiles, ...place(problems, manifests), ...(options.skipped ?? []).map(linkedFile)];
  const omitted = [...results.map((result) => result.omitted), ...cidrFiles.omitted];
  return { objects, ...limitDiagnostics(diagnostics.sort(byPosition), omitted) };
}

function readOrRefuse(file: ManifestFile, cidrFiles: CidrFiles): FileResult {
  return file.unread === undefined ? readFile(file, cidrFiles) : unreadResult(file.path, file.unread);
}

/** The objects of the file are not known, so that no object can be reported as missing. */
function unreadResult(file: string, { reason, message }: NonNullable<ManifestFile["unread"]>): FileResult {
  const fix = {
    "too-large": "write the objects into several files",
    "not-utf8": "save it as UTF-8; if it is not a manifest, give it another extension than .yaml",
    denied: "give the user that runs ztap permission to read it",
  }[reason];
  const code = reason === "too-large" ? "sizeLimit" : "unreadFile";
  const diagnostic = toDiagnostic({ code, path: [], message, fix }, startOf(file));
  return { objects: [], diagnostics: [diagnostic], omitted: { error: 0, warning: 0 }, unread: new Set([null]) };
}

function linkedFile(file: string): Diagnostic {
  const message = "symbolic links and submodules are not followed: this file is not read";
  const fix = "put the file itself here; if it is not a manifest, give the link another extension than .yaml";
  return toDiagnostic({ code: "linkedFile", path: [], message, fix }, startOf(file));
}

const startOf = (file: string): Position => ({ file, line: 1, column: 1 });

function byPosition(a: Diagnostic, b: Diagnostic): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1;
  return a.line - b.line || a.column - b.column || (a.code < b.code ? -1 : a.code > b.code ? 1 : 0);
}

/**
 * Returns positions for problems of the whole state. Files are processed one after the other, so that only one tree is
 * in memory.
 */
function place(problems: readonly PlacedProblem[], files: readonly ManifestFile[]): readonly Diagnostic[] {
  const byFile = Map.groupBy(problems, ({ at }) => at.state.position?.file ?? "");
  return files.flatMap((file) => {
    const inFile = byFile.get(file.path) ?? [];
    if (inFile.length === 0) return [];
    const locate = locator(file);
    return inFile.map(({ at, problem }) =>
      toDiagnostic(problem, locate(at.place, problem.path, problem.anchor ?? "value")),
    );
  });
}
