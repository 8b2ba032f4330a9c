/** Puts packages in the place of former ones. What the sums of those do not list is somebody else's, and stays. */
import { existsSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

export const SUMS = "SHA256SUMS";

/** The sums go first and come last: files without them are no complete set. */
export function putInPlace(made, out) {
  for (const name of [SUMS, `${SUMS}.sig`, ...listed(join(out, SUMS))]) rmSync(join(out, name), { force: true });
  for (const name of readdirSync(made).sort((a, b) => Number(a === SUMS) - Number(b === SUMS)))
    renameSync(join(made, name), join(out, name));
}

/** The files that the sums name: in this folder alone. */
function listed(sums) {
  if (!existsSync(sums)) return [];
  return [...readFileSync(sums, "utf8").matchAll(/^[0-9a-f]{64} {2}([^/\n]+)$/gm)].flatMap(([, name]) =>
    name === "." || name === ".." ? [] : [name],
  );
}
