/**
 * A second reader's opinion of text that the quick way does not take. ztap reads such text with `yaml`; js-yaml has to
 * read the same values, or the file is refused: a reviewer's tool may be any of the two.
 */
import { CORE_SCHEMA, YAMLException, loadAll } from "js-yaml";
import { fieldName, show, type Path, type Problem } from "../problem.js";

/** Above what ztap reads, so that a limit is never what the two differ in. */
const DEPTH_LIMIT = 100;

interface Difference {
  /** Which of the documents that hold something; null where it is not in any one. */
  readonly document: number | null;
  readonly problem: Problem;
}

/** @param values of the documents that hold something, as `yaml` reads them */
export function findDisagreement(text: string, values: readonly unknown[]): Difference | undefined {
  let others: readonly unknown[];
  try {
    others = loadAll(text, { schema: CORE_SCHEMA, maxDepth: DEPTH_LIMIT }).filter((value) => value !== null);
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    const message = `another reader of YAML refuses what stands here (${error.reason})`;
    return { document: null, problem: { ...DOUBT, path: [], offset: error.mark?.position, message } };
  }
  for (const [document, value] of values.entries()) {
    const found = firstDifference(value, others[document], []);
    if (found === undefined) continue;
    const [mine, theirs] = [found.mine, found.theirs].map((one) => (one === undefined ? "nothing" : show(one)));
    const message = `readers of YAML differ: ${fieldName(found.path)} is ${mine} to one and ${theirs} to another`;
    return { document, problem: { ...DOUBT, path: found.path, message } };
  }
  if (others.length === values.length) return undefined;
  const message = `readers of YAML differ: one finds ${values.length} documents here and another ${others.length}`;
  return { document: null, problem: { ...DOUBT, path: [], message } };
}

const DOUBT = {
  code: "readersDiffer",
  wanted: "text that has one meaning to every reader",
  fix: "write it more plainly: one field on a line, values that are more than a word in double quotes",
} as const;

interface Found {
  readonly path: Path;
  readonly mine: unknown;
  readonly theirs: unknown;
}

function firstDifference(mine: unknown, theirs: unknown, path: Path): Found | undefined {
  if (Object.is(mine, theirs)) return undefined;
  const here = { path, mine, theirs };
  if (!isCollection(mine) || !isCollection(theirs) || Array.isArray(mine) !== Array.isArray(theirs)) return here;
  const keys = Object.keys(mine);
  if (keys.length !== Object.keys(theirs).length) return here;
  for (const key of keys) {
    if (!Object.hasOwn(theirs, key)) return here;
    const step = Array.isArray(mine) ? Number(key) : key;
    const found = firstDifference(Reflect.get(mine, key), Reflect.get(theirs, key), [...path, step]);
    if (found !== undefined) return found;
  }
  return undefined;
}

const isCollection = (value: unknown): value is object => value !== null && typeof value === "object";
