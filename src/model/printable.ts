/**
 * Text that someone else wrote (a manifest, a file name, what git said) made safe for a terminal: it
 * must not be able to move the cursor, hide a line or turn the reading direction. Pure.
 */

/** C0 but for tab and line feed, DEL, C1, the line and paragraph separators, and the controls of reading direction. */
const CONTROLS =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/g;

/** Keeps line breaks. */
export function printable(text: string): string {
  return text.replace(/\r\n/g, "\n").replace(CONTROLS, "\ufffd");
}

/** For what has to stay on its line, such as a cell of a table. */
export function printableLine(text: string): string {
  return printable(text).replace(/[\n\t]+/g, " ");
}

/** Colours and weights alone, which the views put in: they move no cursor and hide no line. */
const PAINT = /(\u001b\[[0-9;]*m)/;

/** For what is written as a whole, after the views have painted it: keeps line breaks and paint. */
export function printablePaint(text: string): string {
  return text
    .split(PAINT)
    .map((part, index) => (index % 2 === 1 ? part : printable(part)))
    .join("");
}

/** JSON for a terminal or a pipe: the same document, with every control character written as an escape. */
export function printableJson(value: unknown, indent?: number): string {
  return escapedJson(JSON.stringify(value, null, indent));
}

/** The same for JSON that somebody else has written down. */
export function escapedJson(text: string): string {
  return text.replace(CONTROLS, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
