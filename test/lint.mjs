/**
 * The lint of `npm run check`: ESLint on the files that have changed since they passed, or that import one that has changed.
 * Rules with types look at the imported files, too; ESLint's own cache does not.
 */
import { globSync } from "node:fs";
import { Passed } from "./passed.mjs";
import { Sources } from "./sources.mjs";
import { SOURCES } from "./suites.mjs";

// One look at the files, as on the command line: without what would watch them for changes.
process.env.TSESTREE_SINGLE_RUN = "true";
const { ESLint } = await import("eslint");

const sources = new Sources();
const passed = new Passed("lint");
const eslint = new ESLint({ warnIgnored: false });
const files = globSync(SOURCES.map((folder) => `${folder}/**/*.{ts,mjs}`)).sort();
const changed = files.filter((file) => !passed.has(file, sources.digestOf(file)));
if (changed.length > 0) {
  const results = await eslint.lintFiles(changed);
  const failed = new Set(results.filter((one) => one.errorCount + one.warningCount > 0).map((one) => one.filePath));
  for (const file of changed) {
    const path = new URL(`../${file}`, import.meta.url).pathname;
    if (!failed.has(path)) passed.add(file, sources.digestOf(file));
  }
  passed.save();
  process.stdout.write(await (await eslint.loadFormatter("stylish")).format(results));
  if (failed.size > 0) process.exitCode = 1;
}
