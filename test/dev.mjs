/**
 * `npm run dev [-- NAME…]`: at each change generates what comes from the schemas, compiles, prints type errors, and runs the tests
 * that the change concerns: of the named files, or of the unit tests. Ctrl-C ends it and its children.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, watch } from "node:fs";
import { basename, join } from "node:path";
import { Sources } from "./sources.mjs";
import { chooseFiles, chooseUnits, sourceOf } from "./suites.mjs";

process.chdir(join(import.meta.dirname, ".."));
const names = process.argv.slice(2);
/** Paths that have changed since the last tests began. At the start, with names: everything. */
let changed = new Set();
let isFirst = names.length > 0;
let isCompiled = false;
/** The program that runs besides the compiler, one at a time. */
let child = null;
let isRunning = false;
let isStopped = false;
let isEnding = false;

const compiler = spawn(process.execPath, ["node_modules/typescript/bin/tsc", "--watch", "--preserveWatchOutput"], {
  stdio: ["ignore", "pipe", "inherit"],
});
compiler.stdout.on("data", (chunk) => {
  process.stdout.write(chunk);
  if (String(chunk).includes("Starting ")) isCompiled = false;
  if (String(chunk).includes("Found 0 errors")) {
    isCompiled = true;
    void work();
  }
});
compiler.on("close", (code) => end(code ?? 0));
for (const folder of ["src", "test", "examples", "schemas"])
  watch(folder, { recursive: true }, (_event, path) => {
    // Editors keep files of their own beside those that they edit.
    if (path === null || /^\.|~$/.test(basename(path))) return;
    changed.add(join(folder, path));
    // After a change of a module the compiler reports.
    if (isModule(path)) isCompiled = false;
    else void work();
  });
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => end(0));

/** Does what is to be done, until nothing is left. A change stops the tests that still run; the next begin after their end. */
async function work() {
  if (isRunning) {
    isStopped = true;
    child?.kill("SIGTERM");
    return;
  }
  isRunning = true;
  try {
    while (!isEnding && isCompiled && (isFirst || changed.size > 0)) await runOnce();
  } finally {
    isRunning = false;
  }
}

async function runOnce() {
  const paths = changed;
  changed = new Set();
  isStopped = false;
  if ([...paths].some((path) => path.startsWith("schemas/") && path.endsWith(".json"))) {
    // It writes modules: the compiler reports again, and what runs by then is stopped.
    if ((await run("schemas/generate.mjs")) !== 0) return;
  }
  const files = concerned(paths);
  if (files.length === 0) return;
  const usesCli = files.some((file) => new Sources().closureOf(sourceOf(file)).has("test/cli/ztap.ts"));
  if (usesCli && (await run("bin/build.mjs", "bundle")) !== 0) return;
  if (!isStopped) await run("test/run.mjs", ...files.map((file) => `${file}.test.ts`));
  // What did not come to its end is still to be tested.
  if (isStopped) for (const path of paths) changed.add(path);
  else isFirst = false;
}

/** A changed file that is no module may concern every test. */
function concerned(paths) {
  const files = names.length > 0 ? chooseFiles(names) : chooseUnits();
  if (isFirst || [...paths].some((path) => !isModule(path) && existsSync(path))) return files;
  const sources = new Sources();
  return files.filter((file) => [...paths].some((path) => sources.closureOf(sourceOf(file)).has(path)));
}

function isModule(path) {
  return path.endsWith(".ts");
}

async function run(...args) {
  child = spawn(process.execPath, args, { stdio: "inherit" });
  const [code] = await once(child, "close");
  child = null;
  return code;
}

function end(code) {
  isEnding = true;
  compiler.kill("SIGTERM");
  child?.kill("SIGTERM");
  if (child === null) process.exit(code);
  child.once("close", () => process.exit(code));
}
