/** Suites: the checks that read the source, and the test files in the order in which they run. */
import { globSync } from "node:fs";
import { join } from "node:path";

const bin = (name) => join("node_modules", ".bin", name);

/** A name, and the arguments of Node.js. */
export const CHECKS = [
  ["lint", [bin("eslint"), "--max-warnings", "0", "src", "test"]],
  ["format", [bin("prettier"), "--check", "--log-level", "warn", "src", "test", "bin", "native", "*.js", "*.cjs"]],
  ["dead code", [bin("knip"), "--include", "files,exports,types,dependencies,unlisted", "--no-progress"]],
  ["layers", [bin("depcruise"), "src", "--config", ".dependency-cruiser.cjs", "--output-type", "err"]],
];

/** Files that take longest come first, so that none of them runs alone at the end. */
const SLOW = ["kernel/kernels", "cli/usage", "sim/sim", "cluster/three-nodes", "kernel/versions", "plan/connectivity"];

/** Folders whose tests need neither root, nor a kernel, nor a server; `npm run check` runs them. */
const UNITS = [
  "docs",
  "fakes",
  "interfaces",
  "manifest",
  "model",
  "operations",
  "plan",
  "policy",
  "reconcile",
  "schemas",
  "settings",
  "views",
];

/** Random states and texts in numbers that take longer than a check may. */
const LONG = ["manifest/readers", "plan/connectivity", "policy/expectations"];

/** @returns paths below test/, without their ending, of the files that `npm run check` runs */
export function chooseUnits() {
  return chooseFiles(UNITS.map((folder) => `/${folder}/`)).filter(
    (file) => UNITS.includes(file.split("/")[0]) && !LONG.includes(file),
  );
}

/**
 * @param names parts of paths below test/, which begin with a slash; none: every file
 * @returns paths below test/, without their ending
 */
export function chooseFiles(names) {
  const all = globSync("dist/test/**/*.test.js").map((path) => path.slice("dist/test/".length, -".test.js".length));
  const wanted = names.map((name) => name.replace(/^test\//, "").replace(/(\.test)?\.[jt]s$/, ""));
  const rank = (file) => (SLOW.indexOf(file) + SLOW.length + 1) % (SLOW.length + 1);
  return all
    .filter((file) => wanted.length === 0 || wanted.some((name) => `/${file}`.includes(name)))
    .sort()
    .sort((a, b) => rank(a) - rank(b));
}
