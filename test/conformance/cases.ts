/** Reads the shared conformance cases where they are; they are no part of this repository. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { ObjectSet } from "../../src/model/state.js";
import { readManifests } from "../../src/manifest/read.js";
import { hasErrors } from "../../src/model/diagnostic.js";

const FOLDER = process.env["ZTAP_CASES"] ?? join(import.meta.dirname, "../../../../shared/cases");

/** What the file holds, or why it is not here. The caller says which type the file's own description gives it. */
export function readCases(name: string): { readonly cases: unknown } | { readonly missing: string } {
  const path = join(FOLDER, name);
  if (!existsSync(path)) return { missing: `${name} is not in ${FOLDER} (ZTAP_CASES names another folder)` };
  return { cases: JSON.parse(readFileSync(path, "utf8")) };
}

/** A state from documents as JSON, which is YAML. @throws with the diagnostics where one is refused */
export function objectsOfDocuments(documents: readonly object[]): ObjectSet {
  const text = documents.map((document) => JSON.stringify(document)).join("\n---\n");
  const { objects, diagnostics } = readManifests([{ path: "case.yaml", text, blobId: text }]);
  if (hasErrors(diagnostics)) throw new Error(diagnostics.map(({ line, message }) => `${line}: ${message}`).join("\n"));
  return objects;
}
