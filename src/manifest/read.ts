/**
 * Files → desired state and everything that is wrong with it, in one run.
 *
 * Pure: takes texts, touches no file system, throws for no input. Objects appear only for documents
 * without errors; whoever gets a diagnostic of severity `error` must refuse the state as a whole.
 */
import { hasErrors, type Diagnostic } from "../model/diagnostic.js";
import type { Kind, Position } from "../model/objects.js";
import type { ObjectSet } from "../model/state.js";
import { locator, readFile, type FileResult, type PlacedProblem } from "./document/file.js";
import type { ManifestCache } from "./cache.js";
import { limitDiagnostics } from "./diagnostic-limit.js";
import type { Capacities } from "./state/capacity.js";
import { checkState } from "./state/check.js";
import { toDiagnostic } from "./problem.js";

/** As a Source yields it; the content's identity is what a cache goes by. */
export interface ManifestFile {
  readonly path: string;
  readonly text: string;
  readonly blobId: string;
  /** Where its text could not be read: why not. */
  readonly unread?: { readonly reason: "too-large" | "not-utf8" | "denied"; readonly message: string };
}

export interface Manifests {
  /** In the order of the keys. */
  readonly objects: ObjectSet;
  /** By file, line and column; at most a thousand, of which the last one then says how many more there are. */
  readonly diagnostics: readonly Diagnostic[];
  /** How many more there are. */
  readonly omitted: number;
}

export interface ReadOptions {
  readonly cache?: ManifestCache;
  /** What a node can hold and say; a state that goes beyond it is refused. Absent: anything. */
  readonly capacities?: Capacities;
  /** Paths of files that were left out because they are symbolic links or submodules: each is told. */
  readonly skipped?: readonly string[];
}

/** Text → document → schema-checked object for each file, then the checks of the whole state. */
export function readManifests(files: readonly ManifestFile[], options: ReadOptions = {}): Manifests {
  const results = files.map((file) => readOrRefuse(file, options.cache));
  const fromFiles = results.flatMap(({ diagnostics }) => diagnostics);
  const { objects, problems } = checkState(
    results.flatMap((result) => result.objects),
    {
      unread: new Set<Kind | null>(results.flatMap(({ unread }) => [...unread])),
      hasErrors: hasErrors(fromFiles),
      capacities: options.capacities ?? null,
    },
  );
  const diagnostics = [...fromFiles, ...place(problems, files), ...(options.skipped ?? []).map(linkedFile)];
  const omitted = results.map((result) => result.omitted);
  return { objects, ...limitDiagnostics(diagnostics.sort(byPosition), omitted) };
}

function readOrRefuse(file: ManifestFile, cache: ManifestCache | undefined): FileResult {
  if (file.unread !== undefined) return unreadResult(file.path, file.unread);
  const cached = cache?.get(file);
  if (cached !== undefined) return cached;
  const result = readFile(file);
  cache?.set(file, result);
  return result;
}

/** What the file declares is not known, so that nothing can be said to be missing. */
function unreadResult(file: string, { reason, message }: NonNullable<ManifestFile["unread"]>): FileResult {
  const fix = {
    "too-large": "write the objects into several files",
    "not-utf8": "save it as UTF-8; where it is no manifest, give it another ending than .yaml",
    denied: "let the user that runs ztap read it",
  }[reason];
  const code = reason === "too-large" ? "sizeLimit" : "unreadFile";
  const diagnostic = toDiagnostic({ code, path: [], message, fix }, startOf(file));
  return { objects: [], diagnostics: [diagnostic], omitted: { error: 0, warning: 0 }, unread: new Set([null]) };
}

function linkedFile(file: string): Diagnostic {
  const message = "symbolic links and submodules are not followed: nothing of this file is read";
  const fix = "put the file itself here; where it is no manifest, give the link another ending than .yaml";
  return toDiagnostic({ code: "linkedFile", path: [], message, fix }, startOf(file));
}

const startOf = (file: string): Position => ({ file, line: 1, column: 1 });

function byPosition(a: Diagnostic, b: Diagnostic): number {
  if (a.file !== b.file) return a.file < b.file ? -1 : 1;
  return a.line - b.line || a.column - b.column || (a.code < b.code ? -1 : a.code > b.code ? 1 : 0);
}

/** Positions of problems of the whole state; files are taken one after the other, so that only one tree is in memory. */
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
