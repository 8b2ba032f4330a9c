/** Text that keeps to a width by breaking between words. */
import { stripVTControlCharacters } from "node:util";

/** How many columns a text takes, without its colours. */
export function widthOf(text: string): number {
  return stripVTControlCharacters(text).length;
}

/** One line as several, none wider than asked for but where a single word is. Lines after the first are indented. */
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
