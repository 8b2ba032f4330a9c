/**
 * Compares two parsers on text that the fast reader does not accept. ztap reads such text with `yaml`; js-yaml has to
 * read the same values, or the file is refused: a reviewer's tool may use either.
 */
import { CORE_SCHEMA, YAMLException, loadAll } from "js-yaml";
import { fieldName, show, type Path, type Problem } from "../problem.js";

/** Above ztap's own limit, so that the two never differ only in a limit. */
const DEPTH_LIMIT = 100;

interface Difference {
  /** Index among the documents that have content; null if the difference is in no single document. */
  readonly document: number | null;
  readonly problem: Problem;
}

/**
 * Returns the first difference.
 * @param values of the documents that have content, as `yaml` reads them
 */
export function findDisagreement(text: string, values: readonly unknown[]): Difference | undefined {
  let others: readonly unknown[];
  try {
    others = loadAll(text, { schema: CORE_SCHEMA, maxDepth: DEPTH_LIMIT }).filter((value) => value !== null);
  } catch (error) {
    if (!(error instanceof YAMLException)) throw error;
    const message = `another YAML parser refuses this text (${error.reason})`;
    return { document: null, problem: { ...DOUBT, path: [], offset: error.mark?.position, message } };
  }
  for (const [document, value] of values.entries()) {
    const found = firstDifference(value, others[document], []);
    if (found === undefined) continue;
    const [mine, theirs] = [found.mine, found.theirs].map((one) => (one === undefined ? "nothing" : show(one)));
    const message = `YAML parsers differ: one reads ${fieldName(found.path)} as ${mine}, another as ${theirs}`;
    return { document, problem: { ...DOUBT, path: found.path, message } };
  }
  if (others.length === values.length) return undefined;
  const message = `YAML parsers differ: one finds ${values.length} documents here and another ${others.length}`;
  return { document: null, problem: { ...DOUBT, path: [], message } };
}

const DOUBT = {
  code: "readersDiffer",
  wanted: "text that every YAML parser reads the same way",
  fix: "write it more simply: one field on a line, values of more than one word in double quotes",
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
