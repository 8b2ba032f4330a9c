/** Packages of this checkout, made for the tests by bin/package.mjs, hardly compressed. */
import { execFileSync } from "node:child_process";
import { existsSync, globSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Test } from "tap";
import { ROOT } from "./root.js";

/** @returns why no package can be made here, or null */
export function whyNoPackages(): string | null {
  return existsSync(join(ROOT, ".packaging/stamp")) ? null : "needs .packaging, which bin/package/bring brings";
}

/** @returns the packages' files, below a folder that is removed with the test */
export function makePackages(t: Test, args: readonly string[], checkout = ROOT): readonly string[] {
  const folder = mkdtempSync(join(tmpdir(), `ztap-packages-${process.pid}-`));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const out = join(folder, "out");
  execFileSync(process.execPath, [join(checkout, "bin/package.mjs"), "--quick", "--out", out, ...args], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  return globSync("*", { cwd: out })
    .sort()
    .map((name) => join(out, name));
}

export function fileOf(files: readonly string[], ending: string): string {
  const found = files.find((file) => file.endsWith(ending));
  if (found === undefined) throw new Error(`no package ends in ${ending}: ${files.join(" ")}`);
  return found;
}
