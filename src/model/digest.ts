/** Canonical JSON text and its digest. */
import { hash } from "node:crypto";

/**
 * JSON text with object keys sorted and undefined members left out, so that equal values give equal
 * text (the rules of RFC 8785 for the values that occur here: integers, strings, booleans, null).
 */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    member !== null && typeof member === "object" && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : member,
  );
}

/** SHA-256 of the text in UTF-8, hexadecimal. */
export function digestOfText(text: string): string {
  return hash("sha256", text, "hex");
}

/** SHA-256 of the canonical JSON text, hexadecimal. */
export function digestOf(value: unknown): string {
  return digestOfText(canonicalJson(value));
}
