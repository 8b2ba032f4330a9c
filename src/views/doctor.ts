/** The result of `ztap doctor`. */
import type { Check } from "../model/doctor.js";
import type { Style } from "./style.js";
import { GAP } from "./table.js";
import { wrapWords } from "./wrap.js";

/** Where the names of the checks begin: after the widest state. */
const NAME_COLUMN = 9;
/** The columns that the texts beside the names have at least. */
const LEAST_ROOM = 32;

export function doctorDocument(checks: readonly Check[]): object {
  return { formatVersion: 1, ok: checks.every(({ state }) => state !== "failed"), checks };
}

export function renderDoctor(checks: readonly Check[], style: Style): string {
  const marks = { ok: style.good("ok     "), warning: style.warn("warning"), failed: style.bad("failed ") };
  const width = Math.max(...checks.map(({ name }) => name.length));
  const column = NAME_COLUMN + width + GAP.length;
  // On a narrow terminal the rest of a text stands below the name.
  const indent = style.width - column >= LEAST_ROOM ? column : NAME_COLUMN + GAP.length;
  const wrap = (line: string, more = ""): readonly string[] =>
    wrapWords(line, style.width, `${" ".repeat(indent)}${more}`);
  const lines = checks.flatMap(({ name, state, detail, fix }) => [
    ...wrap(style.line`${marks[state]}${GAP}${name.padEnd(width)}${GAP}${detail}`),
    ...(fix === null ? [] : wrap(style.line`${" ".repeat(indent)}${style.bold("→")} ${fix}`, GAP)),
  ]);
  return [...lines, "", ...wrapWords(verdictOf(checks), style.width)].join("\n");
}

function verdictOf(checks: readonly Check[]): string {
  const count = (wanted: Check["state"]): number => checks.filter(({ state }) => state === wanted).length;
  const [failed, warnings] = [count("failed"), count("warning")];
  if (failed > 0) return `${failed} of ${checks.length} checks failed.`;
  const rest = warnings === 0 ? "" : ` ${warnings} ${warnings === 1 ? "warning" : "warnings"}: see above.`;
  return `This machine has everything that enforcement needs.${rest}`;
}
