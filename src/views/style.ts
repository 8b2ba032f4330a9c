/**
 * Colour and width of the terminal, and the one way of untrusted text into a view. Views receive a style, and never look
 * at the terminal.
 *
 * Untrusted text is a text that ztap did not write: a name, a file, a stored record, git's message. Every function here
 * makes the text that it is given one harmless line, so that a view cannot forget it. The colours carry a secret mark
 * until `finish` turns them into the terminal's escape sequences: a text without the mark has none.
 */
import { styleText } from "node:util";
import { printable, printableLine } from "../model/printable.js";

type Value = string | number;

export interface Style {
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly warn: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly bold: (text: string) => string;
  /** Template tag: returns one line, in which every value is made harmless. Colours of this style stay. */
  readonly line: (texts: TemplateStringsArray, ...values: readonly Value[]) => string;
  /** Returns the text as one harmless line. Colours of this style stay. */
  readonly clean: (text: string) => string;
  /** Returns the finished output for the terminal: its line breaks and the colours of this style, and nothing else. */
  readonly finish: (text: string) => string;
  /** Columns of a line; infinite without a terminal. */
  readonly width: number;
}

const MARK_PARTS = 4;

/**
 * Returns the mark of a style: the last parameters of its escape sequences, so that programs that measure a text know
 * them for colours.
 * @param fraction a random number in [0, 1), which nobody who writes a text can guess
 */
export function createMark(fraction: () => number): string {
  return Array.from({ length: MARK_PARTS }, () => String(1000 + Math.floor(fraction() * 9000))).join(";");
}

/** @param mark see `createMark` */
export function colourStyle(mark: string): Style {
  const marked = new RegExp(`(\\u001b\\[[0-9]+;${mark}m)`);
  const keep = (safe: (text: string) => string, paint: (mark: string) => string) => (text: string) =>
    text
      .split(marked)
      .map((part, index) => (index % 2 === 1 ? paint(part) : safe(part)))
      .join("");
  const clean = keep(printableLine, (paint) => paint);
  const finish = keep(printable, (paint) => paint.replace(`;${mark}`, ""));
  const paint = (format: Parameters<typeof styleText>[0]) => {
    const [start = "", end = ""] = styleText(format, "x", { validateStream: false })
      .split("x")
      .map((sequence) => sequence.replace(/m$/, `;${mark}m`));
    return (text: string) => `${start}${clean(text)}${end}`;
  };
  return {
    good: paint("green"),
    bad: paint("red"),
    warn: paint("yellow"),
    dim: paint("dim"),
    bold: paint("bold"),
    ...{ line: lineOf(clean), clean, finish },
    width: Infinity,
  };
}

export const plainStyle: Style = {
  ...{ good: printableLine, bad: printableLine, warn: printableLine, dim: printableLine, bold: printableLine },
  ...{ line: lineOf(printableLine), clean: printableLine, finish: printable },
  width: Infinity,
};

function lineOf(clean: (text: string) => string): Style["line"] {
  return (texts, ...values) =>
    texts.map((text, index) => (index === 0 ? text : `${clean(String(values[index - 1]))}${text}`)).join("");
}
