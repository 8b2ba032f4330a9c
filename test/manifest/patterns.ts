/**
 * Measures how the time of a regular expression grows: for each repetition in it, texts that lead to the repetition,
 * fill it, and then do not match. Runs in a process of its own, since an exponential pattern never ends.
 */
import ts from "typescript";
import { globSync, readFileSync } from "node:fs";

export interface Pattern {
  /** `file:line`. */
  readonly place: string;
  readonly source: string;
  readonly flags: string;
}

/** Returns every literal and every `new RegExp` of the sources; a value that is filled in stands for a letter. */
export function collectPatterns(): readonly Pattern[] {
  const found = globSync("src/**/*.ts").flatMap((file) => patternsOf(file, readFileSync(file, "utf8")));
  return [...new Map(found.map((pattern) => [`/${pattern.source}/${pattern.flags}`, pattern])).values()];
}

export function patternsOf(file: string, text: string): readonly Pattern[] {
  const tree = ts.createSourceFile(file, text, ts.ScriptTarget.ES2023, true);
  const patterns: Pattern[] = [];
  const visit = (node: ts.Node): void => {
    const regex = regexOf(node);
    const line = tree.getLineAndCharacterOfPosition(node.getStart()).line + 1;
    if (regex !== undefined) patterns.push({ place: `${file}:${line}`, ...regex });
    ts.forEachChild(node, visit);
  };
  visit(tree);
  return patterns;
}

function regexOf(node: ts.Node): Pick<Pattern, "source" | "flags"> | undefined {
  if (ts.isRegularExpressionLiteral(node)) {
    const end = node.text.lastIndexOf("/");
    return { source: node.text.slice(1, end), flags: node.text.slice(end + 1) };
  }
  const isCall = ts.isNewExpression(node) || ts.isCallExpression(node);
  if (!isCall || !ts.isIdentifier(node.expression) || node.expression.text !== "RegExp") return undefined;
  const [source, flags] = (node.arguments ?? []).map(textOf);
  if (source === undefined) throw new TypeError(`${node.getText()} is made of something else than a text`);
  return { source, flags: flags ?? "" };
}

function textOf(node: ts.Expression): string | undefined {
  if (ts.isStringLiteralLike(node)) return node.text;
  if (!ts.isTemplateExpression(node)) return undefined;
  return node.head.text + node.templateSpans.map(({ literal }) => `a${literal.text}`).join("");
}

/** A repetition: the text that leads to it, and texts that it repeats. */
interface Repetition {
  readonly prefix: string;
  readonly units: readonly string[];
}

const CANDIDATES = Array.from({ length: 127 }, (_, code) => String.fromCharCode(code + 1));
/** Of each kind of character, so that neighbouring repetitions share one. */
const KINDS = [/[a-f]/, /[g-z]/, /[A-Z]/, /[0-9]/, /[-_.:/]/, /[ \t]/, /[\r\n]/, /["'[\](){}<>@#%=;,\\]/, /[^]/];

/** Reads the syntax of a pattern as far as is needed to find its repetitions, and a text for each part. */
class PatternReader {
  readonly repetitions: Repetition[] = [];
  #at = 0;

  constructor(
    readonly source: string,
    readonly flags: string,
  ) {}

  /** Reads alternatives up to the end of their group. @returns a text that the first one matches */
  read(prefix: string): string {
    let first: string | undefined;
    for (;;) {
      let text = "";
      while (this.#at < this.source.length && !"|)".includes(this.source.charAt(this.#at)))
        text += this.#part(prefix + text);
      first ??= text;
      if (this.source.charAt(this.#at) !== "|") return first;
      this.#at += 1;
    }
  }

  #part(prefix: string): string {
    const start = this.#at;
    const texts = this.#atom(prefix);
    const repeated = /^(?:[*+?]|\{(\d+)(,?)(\d*)\})\??/.exec(this.source.slice(this.#at));
    this.#at += repeated?.[0].length ?? 0;
    const [text = ""] = texts;
    if (repeated === null || start === this.#at) return text;
    if (repeated[0].startsWith("?")) return "";
    const least = Number(repeated[1] ?? (repeated[0].startsWith("+") ? 1 : 0));
    this.repetitions.push({ prefix, units: texts });
    return text.repeat(Math.min(least, 100));
  }

  /** @returns texts that the atom matches; none for a condition */
  #atom(prefix: string): readonly string[] {
    const rest = this.source.slice(this.#at);
    const group = /^\((\?(?:[:=!]|<[=!]|<\w+>))?/.exec(rest);
    if (group !== null) {
      this.#at += group[0].length;
      const text = this.read(prefix);
      this.#at += 1;
      return /[=!]$/.test(group[1] ?? "") ? [] : [text];
    }
    const atom =
      /^(?:\[\^?(?:\\[^]|[^\]\\])*\]|\\u[\da-f]{4}|\\x[\da-f]{2}|\\[pP]\{\w+\}|\\[^]|[^])/u.exec(rest)?.[0] ?? "";
    this.#at += atom.length;
    if (/^(?:[$^]|\\[bB])$/.test(atom)) return [];
    const matcher = new RegExp(`^(?:${atom})$`, this.flags.replace(/[gym]/g, ""));
    const matching = CANDIDATES.filter((candidate) => matcher.test(candidate));
    const byKind = KINDS.flatMap((kind) => matching.find((candidate) => kind.test(candidate)) ?? []);
    return byKind.length > 0 ? [...new Set(byKind)] : ["é"];
  }
}

/** Returns functions from a length to a text of about that length. */
function textsFor({ source, flags }: Pattern): readonly ((length: number) => string)[] {
  const reader = new PatternReader(source, flags);
  const whole = reader.read("");
  const { repetitions } = reader;
  const units = new Set(repetitions.flatMap(({ prefix, units: own }) => [...own, prefix, `${prefix}${own[0] ?? ""}`]));
  const prefixes = new Set(["", "\u0001", whole, ...repetitions.map(({ prefix }) => prefix)]);
  const texts = [...prefixes].flatMap((prefix) =>
    [...units, whole]
      .filter((unit) => unit !== "")
      .flatMap((unit) => ["", "\u0001", "\n\u0001"].map((suffix) => ({ prefix, unit, suffix }))),
  );
  return texts.map(
    ({ prefix, unit, suffix }) =>
      (length) =>
        prefix + unit.repeat(Math.ceil(length / unit.length)) + suffix,
  );
}

/** Small steps at first, in which an exponential pattern shows; then factors of four. */
const LENGTHS = [10, 15, 20, 25, 30, 80, 320, 1280, 5120, 20_480];
/** In milliseconds of processor time: below it the clock says more than the pattern. */
const MEASURABLE = 4;
/** Linear growth gives 4, quadratic growth 16. */
const ALLOWED = 9;

/** Returns the text with which the time grows faster than the length; undefined if there is none. */
export function findGrowth(pattern: Pattern): string | undefined {
  const regex = new RegExp(pattern.source, pattern.flags);
  for (const textOfLength of textsFor(pattern)) {
    let before = 0;
    for (const length of LENGTHS) {
      const text = textOfLength(length);
      const [shorter, at] = [textOfLength(before), `${JSON.stringify(text.slice(0, 60))}…, ${length} characters`];
      before = length;
      if (time(regex, text) < MEASURABLE) continue;
      const compare = (): number => least(regex, text) / Math.max(least(regex, shorter), MEASURABLE / ALLOWED);
      const growth = compare();
      // What the machine did meanwhile does not happen twice.
      if (growth > ALLOWED && compare() > ALLOWED)
        return `${at}: ${growth.toFixed(0)} times as long as a text of a quarter`;
    }
  }
  return undefined;
}

function least(regex: RegExp, text: string): number {
  return Math.min(...Array.from({ length: 5 }, () => time(regex, text)));
}

/** Processor time, so that other work on the machine does not count. */
function time(regex: RegExp, text: string): number {
  const from = process.cpuUsage();
  // Like replace: every match, and the search after the last one.
  text.replace(regex, "");
  const { user, system } = process.cpuUsage(from);
  return (user + system) / 1000;
}
