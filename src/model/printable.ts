/**
 * Makes text of others (a manifest, a file name, git's output) safe for a terminal: it must not be able to move the
 * cursor, hide a line or turn the reading direction. Pure.
 */

/**
 * C0 except tab and line feed, DEL, C1, the line and paragraph separators, and the controls of the reading direction.
 */
const CONTROLS =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/g;

/** Replaces control characters; keeps line breaks. */
export function printable(text: string): string {
  return text.replace(/\r\n/g, "\n").replace(CONTROLS, "\ufffd");
}

/** Replaces control characters and line breaks, for text that has to stay on its line, such as a cell of a table. */
export function printableLine(text: string): string {
  return printable(text).replace(/[\n\t]+/g, " ");
}

/** The colours and weights that the views add. They move no cursor and hide no line. */
const PAINT = /(\u001b\[[0-9;]*m)/;

/** Replaces control characters in a whole output that the views have already painted; keeps line breaks and paint. */
export function printablePaint(text: string): string {
  return text
    .split(PAINT)
    .map((part, index) => (index % 2 === 1 ? part : printable(part)))
    .join("");
}

/** Returns JSON for a terminal or a pipe: the same document, with every control character written as an escape. */
export function printableJson(value: unknown, indent?: number): string {
  return escapedJson(JSON.stringify(value, null, indent));
}

/** The same for text that is JSON already. */
export function escapedJson(text: string): string {
  return text.replace(CONTROLS, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
