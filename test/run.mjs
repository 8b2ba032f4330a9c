/**
 * `npm test`: the checks of the source and every test file, some at a time. Each prints one line as it ends, with its failures.
 * What could not run here is named at the end, with the reason.
 *
 * `npm run check` (--check) compiles, and runs the checks and the unit tests, but for what has passed before and has not
 * changed since. `npm test -- NAME…` runs only the test files whose path contains one of the names. ZTAP_TEST_CPU=1 shows
 * seconds of processor time as well.
 */
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { Reporter } from "./reporter.mjs";
import { Passed } from "./passed.mjs";
import { Sources } from "./sources.mjs";
import { CHECKS, chooseFiles, chooseUnits, QUICK_CHECKS, sourceOf } from "./suites.mjs";

process.chdir(join(import.meta.dirname, ".."));

/** Bound of one file in seconds, on a machine that is busy with something else. */
const TIMEOUT = process.env.ZTAP_SOAK === "1" ? 0 : 1800;
const isTimed = process.env.ZTAP_TEST_CPU === "1";

const isCheck = process.argv[2] === "--check";
const names = isCheck ? [] : process.argv.slice(2);
const files = isCheck ? chooseUnits() : chooseFiles(names);
if (files.length === 0) {
  process.stderr.write(`no test file's path contains ${names.join(" or ")}\n`);
  process.exit(1);
}
/** Each leads a process group: what a file has started ends with it. */
const children = new Set();
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => void stop(signal));
const scratch = mkdtempSync(join(tmpdir(), `ztap-test-${process.pid}-`));
process.once("exit", () => rmSync(scratch, { recursive: true, force: true }));

// tap runs the files, reads what they print and sets the exit code; the reporter prints.
t.register();
t.resume();
t.setTimeout(0);
// One more than there are processors: many a test waits.
t.jobs = Math.min(4, availableParallelism() + 1);
const reporter = new Reporter(t, readTimes);
t.on("spawn", (file) => {
  file.on("preprocess", (options) => (options.detached = true));
  file.on("process", watch);
});
if (isCheck) await runQuick();
else {
  await sweep();
  if (names.length === 0) for (const [name, args] of CHECKS) void runCheck(name, args);
  for (const file of files) void runFile(file);
}
t.on("complete", () => reporter.sayTotals());
t.end();

/** Removes what earlier runs left that were killed. Only root makes such things, and only where the kernel tests run. */
async function sweep() {
  if (process.platform !== "linux" || process.getuid() !== 0) return;
  const { sweepDead } = await import("../dist/test/sweep.js");
  const found = await sweepDead().catch((error) => {
    // Leftovers of other runs are no failure of this one. Without cgroups there are none.
    if (error.code !== "unsupported") process.stdout.write(`leftovers of killed runs stay: ${error.message}\n`);
    return [];
  });
  if (found.length > 0) process.stdout.write(`removed what was left of killed runs: ${found.join(", ")}\n`);
}

/** The checks that read the sources run beside the compiler, and the tests after it. */
async function runQuick() {
  const passed = new Passed("passed");
  const sources = new Sources();
  const runOnce = (name, digest, run) => {
    if (passed.has(name, digest)) return reporter.countUnchanged();
    return run().then((results) => {
      if (results?.ok === true) passed.add(name, digest);
    });
  };
  const compiled = runCheck("types", ["bin/build.mjs", "types"]);
  const checks = QUICK_CHECKS.map(([name, args]) => runOnce(name, sources.tree, () => runCheck(name, args)));
  const isCompiled = (await compiled)?.ok === true;
  const tests = isCompiled
    ? files.map((file) => runOnce(file, sources.digestOfTest(sourceOf(file)), () => runFile(file)))
    : [];
  void Promise.all([...checks, ...tests]).then(() => passed.save());
}

function runCheck(name, args) {
  return t.test(name, { buffered: true, timeout: 0 }, async (t) => {
    const [program, ...rest] = commandOf(name, args);
    const child = watch(spawn(program, rest, { stdio: ["ignore", "pipe", "pipe"], detached: true }));
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
    const code = await new Promise((resolve) => child.once("close", resolve));
    t.ok(code === 0, name, { at: null, stack: "", output });
  });
}

function runFile(file) {
  const [program, ...rest] = commandOf(file, ["--enable-source-maps", `dist/test/${file}.test.js`]);
  const env = { ...process.env, TAP_TIMEOUT: String(TIMEOUT), ...(isCheck ? { ZTAP_CHECK: "1" } : {}) };
  return t.spawn(program, rest, {
    name: file,
    at: null,
    stack: "",
    buffered: true,
    timeout: TIMEOUT * 1000,
    stdio: "pipe",
    env,
  });
}

/** Without NODE_OPTIONS: tap would load itself into the process and into every process that it starts. */
function commandOf(name, args) {
  const command = ["env", "-u", "NODE_OPTIONS", "FORCE_COLOR=0", process.execPath, ...args];
  // The shell's `times` covers what ran below it, too.
  return isTimed ? ["sh", "-c", '"$@"; code=$?; times >"$0"; exit $code', pathOfTimes(name), ...command] : command;
}

function watch(child) {
  children.add(child);
  child.once("close", (code) => {
    children.delete(child);
    if (code !== 0) killGroup(child, "SIGKILL");
  });
  return child;
}

async function stop(signal) {
  const ends = [...children].map((child) => new Promise((resolve) => child.once("close", resolve)));
  for (const child of children) killGroup(child, "SIGTERM");
  const bound = setTimeout(() => children.forEach((child) => killGroup(child, "SIGKILL")), 5000);
  await Promise.all(ends);
  clearTimeout(bound);
  process.stdout.write(`stopped by ${signal}\n`);
  process.exit(1);
}

function killGroup({ pid }, signal) {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}

function pathOfTimes(name) {
  return join(scratch, name.replaceAll("/", "_"));
}

/** @returns seconds of processor time of a check or file and of the processes that it waited for, or null */
function readTimes(name) {
  // A file that was stopped at its time limit has none.
  if (!isTimed || !existsSync(pathOfTimes(name))) return null;
  const parts = readFileSync(pathOfTimes(name), "utf8").matchAll(/(\d+)m([\d.]+)s/g);
  return [...parts].reduce((sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds), 0);
}
