/** Wraps text between words to a width. */
import { stripVTControlCharacters } from "node:util";

/** Returns the number of columns of a text, without its colours. */
export function widthOf(text: string): number {
  return stripVTControlCharacters(text).length;
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
