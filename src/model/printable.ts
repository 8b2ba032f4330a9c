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

/** The longest text that ztap writes into one field of a record. */
const MAX_WRITTEN = 4096;

/** Returns a text for people as a record keeps it: one harmless line of a bounded length. */
export function recordLine(text: string): string {
  const line = printableLine(text);
  return line.length <= MAX_WRITTEN ? line : `${line.slice(0, MAX_WRITTEN - 2).toWellFormed()} …`;
}

/** Returns JSON for a terminal or a pipe: the same document, with every control character written as an escape. */
export function printableJson(value: unknown, indent?: number): string {
  return escapedJson(JSON.stringify(value, null, indent));
}

/** The same for text that is JSON already. */
export function escapedJson(text: string): string {
  return text.replace(CONTROLS, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
