/**
 * Words that YAML 1.2 reads as text, and YAML 1.1 (as in Kubernetes' own parser) as booleans. ztap reads text. In
 * labels and label selectors, which Kubernetes would refuse or rename, they get a warning. `y` and `n` are booleans to
 * some parsers of 1.1 as well; they get no warning, since policies with namespaces of that name are common.
 */
import type { Path, Problem } from "../problem.js";

const TRUE = ["yes", "Yes", "YES", "on", "On", "ON"];
const FALSE = ["no", "No", "NO", "off", "Off", "OFF"];

/** The value of each word in YAML 1.1. */
export const BOOLEAN_WORDS: ReadonlyMap<string, boolean> = new Map([
  ...TRUE.map((word) => [word, true] as const),
  ...FALSE.map((word) => [word, false] as const),
]);

/** Returns whether the value at this path belongs to a label, or to a requirement of a selector. */
function isOfLabels(path: Path): boolean {
  const parent = path.at(-2);
  if (parent === "matchLabels" || (parent === "labels" && path.at(-3) === "metadata")) return true;
  return (
    (path.at(-1) === "key" && path.at(-3) === "matchExpressions") ||
    (parent === "values" && path.at(-4) === "matchExpressions")
  );
}

/**
 * Returns the warning for a word.
 * @param word a scalar without quotes and tag: the value at the path, or its key
 */
export function wordProblem(word: string, path: Path, anchor: "key" | "value"): Omit<Problem, "offset"> | undefined {
  const other = BOOLEAN_WORDS.get(word);
  if (other === undefined || !isOfLabels(path)) return undefined;
  return {
    code: "booleanWord",
    path,
    anchor,
    message: `${word} is text here, and ${other} to parsers of YAML 1.1: Kubernetes would ${anchor === "key" ? `read the key "${other}"` : "refuse it"}`,
    found: word,
    wanted: "quotes",
    fix: `write "${word}"`,
  };
}
