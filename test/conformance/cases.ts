/** Reads the shared conformance cases where they are; they are no part of this repository. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = process.env["ZTAP_CASES"] ?? join(import.meta.dirname, "../../../../shared/cases");

/** Null where the file is not on this machine. The caller's type is what the file's own description says. */
export function readCases<T>(name: string): { readonly cases: T } | { readonly missing: string } {
  const path = join(FOLDER, name);
  if (!existsSync(path)) return { missing: `${name} is not in ${FOLDER} (ZTAP_CASES names another folder)` };
  return { cases: JSON.parse(readFileSync(path, "utf8")) as T };
}
