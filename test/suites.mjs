/** Suites: the checks that read the source, and the test files in the order in which they run. */
import { globSync } from "node:fs";
import { join } from "node:path";

/** Runs in the guest with systemd alone, which kernel/kernels boots. */
const IN_GUEST = "kernel/systemd";
/** Whole machines, and packages of all kinds, for many minutes: `npm run test:hosts`. */
const isForHosts = (file) => file.startsWith("hosts/") || file === "package/contents";

const bin = (name) => join("node_modules", ".bin", name);

/** Below it lies what `npm run check` and `npm run dev` remember from run to run. `npm test` remembers nothing. */
export const CACHE = "node_modules/.cache/ztap";
/** Folders that ESLint reads. */
export const SOURCES = ["src", "test"];

/** A name, and the arguments of Node.js. */
export const CHECKS = [
  ["lint", [bin("eslint"), "--max-warnings", "0", ...SOURCES]],
  ["format", [bin("prettier"), "--check", "--log-level", "warn", "src", "test", "bin", "native", "*.js", "*.cjs"]],
  ["dead code", [bin("knip"), "--include", "files,exports,types,dependencies,unlisted", "--no-progress"]],
  ["layers", [bin("depcruise"), "src", "--config", ".dependency-cruiser.cjs", "--output-type", "err"]],
];

const cached = ["--cache", "--cache-strategy", "content"];
/** The same for `npm run check`: with caches, so that only what has changed is read again. */
export const QUICK_CHECKS = [
  ["lint", ["test/lint.mjs"]],
  ["format", [...argsOf("format"), ...cached, "--cache-location", join(CACHE, "format")]],
  ["dead code", [...argsOf("dead code"), "--cache", "--cache-location", join(CACHE, "dead-code")]],
  ["layers", [...argsOf("layers"), "--cache", join(CACHE, "layers"), "--cache-strategy", "content"]],
];

/** Files that take longest come first, so that none of them runs alone at the end. */
const SLOW = [
  "kernel/kernels",
  "package/contents",
  "package/life",
  "cli/usage",
  "sim/sim",
  "cluster/three-nodes",
  "kernel/versions",
  "plan/connectivity",
];

/** Folders whose tests need neither root, nor a kernel, nor a server; `npm run check` runs them. */
const UNITS = [
  "docs",
  "fakes",
  "interfaces",
  "manifest",
  "model",
  "inventory",
  "operations",
  "plan",
  "policy",
  "reconcile",
  "schemas",
  "settings",
  "views",
];

/** Large states, random states and texts, other programs: what takes longer than a check may. */
const LONG = [
  "manifest/capacity",
  "manifest/enforceable",
  "manifest/patterns",
  "manifest/readers",
  "plan/connectivity",
  "policy/expectations",
  "reconcile/hostile",
  "reconcile/pf",
  "reconcile/rollout-histories",
];

/** @returns paths below test/, without their ending, of the files that `npm run check` runs */
export function chooseUnits() {
  return listTests().filter((file) => UNITS.includes(file.split("/")[0]) && !LONG.includes(file));
}

/** The source of a test file. */
export function sourceOf(file) {
  return `test/${file}.test.ts`;
}

/**
 * @param names parts of paths below test/, which begin with a slash, or whole names of files; none: every file
 * @returns paths below test/, without their ending
 */
export function chooseFiles(names) {
  const wanted = names.map((name) => name.replace(/^test\//, ""));
  const rank = (file) => (SLOW.indexOf(file) + SLOW.length + 1) % (SLOW.length + 1);
  const isNamed = (file, name) =>
    name.endsWith(".test.ts") ? `${file}.test.ts` === name : `/${file}`.includes(name.replace(/(\.test)?\.js$/, ""));
  return listTests()
    .filter((file) => (wanted.length === 0 ? !isForHosts(file) : wanted.some((name) => isNamed(file, name))))
    .sort((a, b) => rank(a) - rank(b));
}

function listTests() {
  return globSync("test/**/*.test.ts")
    .map((path) => path.slice("test/".length, -".test.ts".length))
    .filter((file) => file !== IN_GUEST)
    .sort();
}

function argsOf(check) {
  return CHECKS.find(([name]) => name === check)?.[1] ?? [];
}
