/** Diagnostics as text, for tables. */
import { readManifests } from "../../src/manifest/read.js";

/** `code line:column path`, one line a diagnostic. */
export function diagnose(...texts: readonly string[]): string {
  const files = texts.map((text, index) => ({ path: `${index}.yaml`, text, blobId: String(index) }));
  return readManifests(files)
    .diagnostics.map(({ file, code, line, column, path }) =>
      `${texts.length > 1 ? `${file} ` : ""}${code} ${line}:${column} ${path}`.trim(),
    )
    .join("\n");
}
