/** Canonical JSON text and its digest. */
import { hash } from "node:crypto";

/**
 * Returns JSON text with sorted object keys and without undefined members, so that equal values give equal text (the
 * rules of RFC 8785 for the values that occur here: integers, strings, booleans, null).
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join()}]`;
  if (!isRecord(value)) return value === undefined ? "null" : JSON.stringify(value);
  // A hand-written loop, because every object and every rule passes through here.
  let text = "";
  for (const key of Object.keys(value).sort()) {
    const member = value[key];
    if (member !== undefined) text += `${text === "" ? "" : ","}${JSON.stringify(key)}:${canonicalJson(member)}`;
  }
  return `{${text}}`;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === "object";
}

/** SHA-256 of the text in UTF-8, hexadecimal. */
export function digestOfText(text: string): string {
  return hash("sha256", text, "hex");
}

/** SHA-256 of the canonical JSON text, hexadecimal. */
export function digestOf(value: unknown): string {
  return digestOfText(canonicalJson(value));
}
