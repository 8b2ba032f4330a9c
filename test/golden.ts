/** Expected outputs in files of their own. `npm run renew` (ZTAP_GOLDEN=write) writes them anew; Git shows what changed. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Test } from "tap";

// Tests run from dist/test.
const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** @param path of the file with the expected text, from the root of the checkout */
export function matchGolden(t: Test, path: string, text: string): void {
  const file = join(ROOT, path);
  if (process.env["ZTAP_GOLDEN"] === "write") {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  t.equal(text, existsSync(file) ? readFileSync(file, "utf8") : `${path} is missing`, path);
}
