/**
 * Files → desired state and everything that is wrong with it, in one run.
 *
 * Pure: takes texts, touches no file system, throws for no input. Objects appear only for documents
 * without errors; whoever gets a diagnostic of severity `error` must refuse the state as a whole.
 */
import { hasErrors, type Diagnostic } from "../model/diagnostic.js";
import type { Kind, Position } from "../model/objects.js";
import type { ObjectSet, StateObject } from "../model/state.js";
import { checkCapacity, type Capacities } from "./state/capacity.js";
import { compareObjects } from "./state/conflicts.js";
import { checkTests } from "./state/connectivity-tests.js";
import { readFile, type FileResult, type PlacedProblem } from "./document/file.js";
import { limitDiagnostics } from "./diagnostic-limit.js";
import { lintObjects, type Warning } from "./state/lint.js";
import { locator } from "./document/locate.js";
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

/** Results of files that have not changed since the last run, by path; holds at most `limit` files. */
export interface ManifestCache {
  get(file: ManifestFile): FileResult | undefined;
  set(file: ManifestFile, result: FileResult): void;
}

/** Enough for the largest repository that is planned for, at one file an object. */
const CACHED_FILES = 20_000;

export function createManifestCache(limit = CACHED_FILES): ManifestCache {
  const entries = new Map<string, { readonly blobId: string; readonly result: FileResult }>();
  return {
    get({ path, blobId }) {
      const entry = entries.get(path);
      return entry?.blobId === blobId ? entry.result : undefined;
    },
    set({ path, blobId }, result) {
      entries.delete(path);
      entries.set(path, { blobId, result });
      // A Map keeps the order of insertion: the first one is the one that has not changed for longest.
      const oldest = entries.keys().next();
      if (entries.size > limit && oldest.done !== true) entries.delete(oldest.value);
    },
  };
}

export interface ReadOptions {
  readonly cache?: ManifestCache;
  /** What a node can hold and say; a state that goes beyond it is refused. Absent: anything. */
  readonly capacities?: Capacities;
  /** Paths of files that were left out because they are symbolic links or submodules: each is told. */
  readonly skipped?: readonly string[];
}

export function readManifests(files: readonly ManifestFile[], options: ReadOptions = {}): Manifests {
  const results = files.map((file) => {
    if (file.unread !== undefined) return unreadResult(file.path, file.unread);
    const cached = options.cache?.get(file);
    if (cached !== undefined) return cached;
    const result = readFile(file);
    options.cache?.set(file, result);
    return result;
  });
  const unread = new Set<Kind | null>(results.flatMap((result) => [...result.unread]));
  const all = results.flatMap((result) => result.objects);
  const { accepted, problems } = compareObjects(all, unread);
  const objects: ObjectSet = new Map<string, StateObject>(
    [...accepted].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, { state }]) => [key, state]),
  );
  const locate = (found: readonly Warning[]): readonly PlacedProblem[] =>
    found.flatMap(({ key, problem }) => {
      const at = accepted.get(key);
      return at === undefined ? [] : [{ at, problem }];
    });
  const warnings = locate(lintObjects(objects, unread));
  const skipped = (options.skipped ?? []).map(linkedFile);
  const placed = place([...problems, ...warnings], files);
  const diagnostics = [...results.flatMap((result) => result.diagnostics), ...placed, ...skipped];
  const { capacities } = options;
  // A state that is refused anyway is neither measured nor tested.
  if (!hasErrors(diagnostics)) {
    const found = capacities === undefined ? [] : checkCapacity(objects, capacities);
    diagnostics.push(...place(locate([...found, ...checkTests(objects)]), files));
  }
  const limited = limitDiagnostics(
    diagnostics.sort(byPosition),
    results.map(({ omitted }) => omitted),
  );
  return { objects, ...limited };
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

/**
 * Positions of problems between objects. The trees are gone by then (a cached file never had one in
 * this run), so a file that such a problem points into is read once more; files are taken one after
 * the other, so that only one tree is in memory.
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
