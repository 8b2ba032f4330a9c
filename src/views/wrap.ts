/** The width of text on a terminal: measures it, wraps it between words, pads and cuts it. */
import { stripVTControlCharacters } from "node:util";
import stringWidth from "string-width";

const PLAIN = /^[\x20-\x7e]*$/;
/** Escape sequences of colours, between the texts that they colour. */
const COLOURS = /(\u001b\[[0-9;]*m)/;
const ELLIPSIS = "…";
const graphemes = new Intl.Segmenter("en", { granularity: "grapheme" });

/** Returns the number of columns of a text, without its colours. */
export function widthOf(text: string): number {
  const bare = text.includes("\u001b") ? stripVTControlCharacters(text) : text;
  return PLAIN.test(bare) ? bare.length : stringWidth(bare);
}

export function padTo(text: string, width: number): string {
  return `${text}${" ".repeat(Math.max(0, width - widthOf(text)))}`;
}

/** Cuts a text that is wider, at its end or in its middle, where an ellipsis stands then. Colours stay. */
export function shorten(text: string, width: number, where: "end" | "middle"): string {
  if (widthOf(text) <= width) return text;
  const tail = where === "end" ? 0 : Math.floor((width - 1) / 2);
  const parts = partsOf(text);
  const [head, from] = takeWhile(parts, width - 1 - tail);
  const [end] = takeWhile(parts.slice(from).reverse(), tail);
  // Colours between the two stay, so that each that begins also ends.
  const between = parts.slice(from, parts.length - end.length).filter(({ width }) => width === 0);
  return [...head, { text: ELLIPSIS }, ...between, ...end.reverse()].map((part) => part.text).join("");
}

interface Part {
  readonly text: string;
  /** 0 for a colour. */
  readonly width: number;
}

function partsOf(text: string): readonly Part[] {
  return text
    .split(COLOURS)
    .flatMap((part, index) =>
      index % 2 === 1
        ? [{ text: part, width: 0 }]
        : [...graphemes.segment(part)].map(({ segment }) => ({ text: segment, width: widthOf(segment) })),
    );
}

/** Returns the first parts that fit the width, and how many they are. */
function takeWhile(parts: readonly Part[], width: number): readonly [Part[], number] {
  let used = 0;
  let count = 0;
  for (const part of parts) {
    if (used + part.width > width) break;
    used += part.width;
    count += 1;
  }
  return [parts.slice(0, count), count];
}

/** Wraps the lines that are wider than the width, with four columns more before what follows. */
export function wrapLines(text: string, width: number): string {
  if (width === Infinity) return text;
  return text
    .split("\n")
    .flatMap((line) => {
      if (widthOf(line) <= width) return [line];
      return wrapWords(line, width, `${/^ */.exec(line)?.[0] ?? ""}    `);
    })
    .join("\n");
}

/** Splits a line into several within the width, unless a single word is wider. Lines after the first are indented. */
export function wrapWords(text: string, width: number, indent = ""): readonly string[] {
  const lines: string[] = [];
  let line = /^ */.exec(text)?.[0] ?? "";
  let isBare = true;
  for (const word of text.slice(line.length).split(" ")) {
    const longer = isBare ? `${line}${word}` : `${line} ${word}`;
    if (isBare || widthOf(longer) <= width) line = longer;
    else {
      lines.push(line);
      line = `${indent}${word}`;
    }
    isBare = false;
  }
  return [...lines, line];
}
