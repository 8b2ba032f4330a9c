/**
 * The law that the fuzzer tries: what ztap accepts of a text, `yaml` and js-yaml read alike; and the quick reader takes
 * no text but one that both read to its values, at its places.
 */
import { CORE_SCHEMA, loadAll } from "js-yaml";
import { parseAllDocuments } from "yaml";
import { canonicalJson } from "../../../src/model/digest.js";
import { hasErrors } from "../../../src/model/diagnostic.js";
import { readFast } from "../../../src/manifest/yaml/fast.js";
import { readManifests } from "../../../src/manifest/read.js";
import { escapeDoubtful } from "../../../src/manifest/yaml/characters.js";
import { offsetOf, parseYaml } from "../../../src/manifest/yaml/parse.js";

/** Whether the quick reader took the text, or gave it up; and whether ztap accepts objects in it. */
export type Verdict = `${"quick" | "thorough"}, ${"accepted" | "empty" | "refused"}`;

/** @throws Error where the law is broken */
export function compareReaders(text: string): Verdict {
  const plain = readFast(text, true);
  if (plain !== undefined) {
    const values = plain.map(({ value }) => value);
    same("the quick reader and yaml", values, yamlValues(text));
    same("the quick reader and js-yaml", values, jsValues(text));
    const { documents } = parseYaml({ path: "a", text });
    const places = documents.filter((one) => one.toJS() !== null).map((one) => offsetOf(one, [], "value"));
    same(
      "places",
      plain.map(({ offset }) => offset),
      places.slice(0, plain.length),
    );
  }
  const accepted = objectsOf(text);
  const reader = plain === undefined ? "thorough" : "quick";
  if (accepted === null) return `${reader}, refused`;
  for (const [name, values] of [["yaml", yamlValues(text)] as const, ["js-yaml", jsValues(text)] as const]) {
    const again = objectsOf(values.map((value) => escapeDoubtful(JSON.stringify(value))).join("\n---\n"));
    same(`ztap and ${name}`, accepted, again);
  }
  return `${reader}, ${accepted.length === 0 ? "empty" : "accepted"}`;
}

/** Keys and digests of what ztap accepts; null where it refuses the text. */
function objectsOf(text: string): readonly string[] | null {
  const { objects, diagnostics } = readManifests([{ path: "a", text, blobId: "" }]);
  if (hasErrors(diagnostics)) return null;
  return [...objects].map(([key, { digest }]) => `${key} ${digest}`);
}

function yamlValues(text: string): readonly unknown[] {
  const documents = parseAllDocuments(text, { logLevel: "silent" });
  const [error] = "empty" in documents ? documents.errors : documents.flatMap((document) => document.errors);
  if (error !== undefined) throw new Error(`yaml refuses the text: ${error.message}`);
  return [...documents].map((document): unknown => document.toJS()).filter((value) => value !== null);
}

const jsValues = (text: string): readonly unknown[] =>
  loadAll(text, { schema: CORE_SCHEMA }).filter((value) => value !== null);

function same(what: string, a: unknown, b: unknown): void {
  const [first, second] = [canonicalJson(a), canonicalJson(b)];
  if (first !== second) throw new Error(`${what} differ: ${first} and ${second}`);
}

/** As `compareReaders`, with the seed and the text in the error. */
export function compareAt(seed: number, text: string): Verdict {
  try {
    return compareReaders(text);
  } catch (error) {
    throw new Error(
      `seed ${seed}: ${error instanceof Error ? error.message : String(error)}\n${JSON.stringify(text)}`,
      {
        cause: error,
      },
    );
  }
}
