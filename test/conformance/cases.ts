/** Reads the shared conformance cases where they are; they are no part of this repository. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = process.env["ZTAP_CASES"] ?? join(import.meta.dirname, "../../../../shared/cases");

/** The text of a file of cases, or why it is not here. */
export function readCases(name: string): { readonly text: string } | { readonly missing: string } {
  const path = join(FOLDER, name);
  if (existsSync(path)) return { text: readFileSync(path, "utf8") };
  return { missing: `${name} is not in ${FOLDER} (ZTAP_CASES names another folder)` };
}
