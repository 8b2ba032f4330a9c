/**
 * Files of CIDRs that NetworkSets name: one CIDR a line, `#` begins a comment. Pure: takes the texts of the source's
 * files. A file that no NetworkSet names is not read, and causes no diagnostics.
 */
import { dirname, isAbsolute, join } from "node:path/posix";
import { CIDR_EXTENSION, isCidrPath } from "../../model/cidr-file.js";
import type { Diagnostic } from "../../model/diagnostic.js";
import { DiagnosticList, type Omitted } from "../diagnostic-limit.js";
import { cidrProblem } from "./check.js";
import { checkSetCidr, SET_LIMIT } from "./address.js";
import { show, toDiagnostic, type Path, type Problem } from "../problem.js";
import { textProblems } from "../yaml/characters.js";

/** A file as `ManifestFile` has it. */
interface TextOfFile {
  readonly path: string;
  readonly text: string;
  readonly unread?: { readonly message: string };
}

/** The canonical CIDRs of a file, in its order; null if it has errors, which are reported at its lines. */
type Content = readonly string[] | null;

/** The content of a NetworkSet's file, or the problem of the set. */
export type NamedFile = { readonly cidrs: Content } | { readonly problem: Problem };

/** Reads the file that a NetworkSet of one manifest names. */
export type ReadCidrFile = (file: string) => NamedFile;

export class CidrFiles {
  readonly #files: ReadonlyMap<string, TextOfFile>;
  readonly #contents = new Map<string, Content>();
  readonly #diagnostics: Diagnostic[] = [];
  readonly #omitted: Omitted[] = [];
  /** A file counts for each set that names it: each set holds its CIDRs. */
  #total = 0;

  constructor(files: readonly TextOfFile[]) {
    this.#files = new Map(files.map((file) => [file.path, file]));
  }

  /** The problems of the files that were read. */
  get diagnostics(): readonly Diagnostic[] {
    return this.#diagnostics;
  }

  /** For each file that was read: the number of further problems. */
  get omitted(): readonly Omitted[] {
    return this.#omitted;
  }

  /**
   * Reads the file of a NetworkSet.
   * @param manifest path of the file that declares the set
   * @param named as the author wrote it
   */
  read(manifest: string, named: string): NamedFile {
    const refuse = (message: string, fix?: string): NamedFile => ({
      problem: {
        code: "cidrFile",
        path: FIELD,
        message,
        found: show(named),
        wanted: `the path of a file that ends in ${CIDR_EXTENSION}, relative to this manifest's folder and below the source path`,
        ...(fix === undefined ? {} : { fix }),
      },
    });
    if (isAbsolute(named))
      return refuse(`file ${show(named)} is an absolute path`, "write its path from this manifest");
    if (!isCidrPath(named)) {
      const rule = `does not end in ${CIDR_EXTENSION}, or holds other characters than letters, digits and . _ - /`;
      return refuse(`file ${show(named)} ${rule}`, "rename it");
    }
    const path = join(dirname(manifest), named);
    const file = this.#files.get(path);
    if (file === undefined) {
      const fix = "check the path; symbolic links, and folders whose name begins with a dot, are not followed";
      return refuse(`there is no regular file ${path} below the source path`, fix);
    }
    if (file.unread !== undefined) return refuse(`file ${path}: ${file.unread.message}`);
    const known = this.#contents.get(path);
    const cidrs = known === undefined ? this.#parse(file) : known;
    this.#contents.set(path, cidrs);
    this.#total += cidrs?.length ?? 0;
    return this.#total > ALL_SETS_LIMIT ? { problem: tooManyOfAll } : { cidrs };
  }

  #parse({ path, text }: TextOfFile): Content {
    const found = new DiagnosticList();
    const report = (problem: Problem, line: number, column: number): void => {
      if (found.hasRoom("error")) found.add(toDiagnostic(problem, { file: path, line, column }));
      else found.omit("error", 1);
    };
    const cidrs: string[] = [];
    for (const [index, line] of text.split(/\r?\n/).entries()) {
      // A line that begins with % means nothing here: only YAML has directives.
      const [doubtful] = textProblems(line.replace(/%/g, " "));
      const written = line.replace(/#.*/s, "").trim();
      if (doubtful !== undefined) report(doubtful, index + 1, (doubtful.offset ?? 0) + 1);
      if (doubtful !== undefined || written === "") continue;
      const checked = checkSetCidr(written);
      if (checked.ok) cidrs.push(checked.value.text);
      else report(cidrProblem(checked, [], written), index + 1, line.indexOf(written) + 1);
      if (cidrs.length > SET_LIMIT) {
        report(tooManyLines, index + 1, 1);
        break;
      }
    }
    this.#diagnostics.push(...found.all);
    this.#omitted.push(found.omitted);
    return found.all.length > 0 ? null : cidrs;
  }
}

/** Largest number of CIDRs that all sets together have from files: some ten seconds of reading. */
const ALL_SETS_LIMIT = 8 * SET_LIMIT;

const FIELD: Path = ["spec", "file"];

const tooManyOfAll: Problem = {
  code: "setTooLarge",
  path: FIELD,
  message: `with this set, the files of all NetworkSets together have more than ${ALL_SETS_LIMIT} CIDRs`,
  wanted: `at most ${ALL_SETS_LIMIT}`,
  fix: "name wider blocks, or let rules name one set instead of several with the same file",
};

const tooManyLines: Problem = {
  code: "setTooLarge",
  path: [],
  message: `the file has more than ${SET_LIMIT} CIDRs`,
  wanted: `at most ${SET_LIMIT}`,
  fix: "name wider blocks, or write several files and NetworkSets",
};
