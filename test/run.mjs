/**
 * `npm test`: everything, in stages. Each stage prints one line, and the tests one for each file as it ends. The output of a
 * stage that fails is shown. What could not run here is named at the end, with the reason.
 *
 * `npm test -- NAME…` runs only the test files whose path contains one of the names.
 */
import { spawn } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
process.chdir(root);
const bin = (name) => join("node_modules", ".bin", name);
const node = process.execPath;

const CHECKS = [
  ["format", [bin("prettier"), "--check", "--log-level", "warn", "src", "test", "bin", "native", "*.js", "*.cjs"]],
  ["lint", [bin("eslint"), "--max-warnings", "0", "src", "test"]],
  ["layers", [bin("depcruise"), "src", "--config", ".dependency-cruiser.cjs", "--output-type", "err"]],
  ["dead code", [bin("knip"), "--include", "files,exports,types,dependencies,unlisted", "--no-progress"]],
];

/** tap writes it when it ends, also where no terminal is. */
const SHOW_CURSOR = "\x1b[?25h";

/** Files that take longest come first, so that none of them runs alone at the end. */
const SLOW = ["kernel/kernels", "cli/usage", "sim/sim", "cluster/three-nodes", "kernel/versions", "plan/connectivity"];

const started = Date.now();
const names = process.argv.slice(2);
const files = chooseFiles(names);
let failedStages = 0;
if (names.length === 0) {
  for (const [name, args] of CHECKS) {
    const from = Date.now();
    const { code, output } = await run(args);
    tell(code, name, from);
    if (code !== 0) process.stdout.write(output);
  }
}
const totals = await runTests(files);
for (const skip of totals.skips) process.stdout.write(`skipped: ${skip}\n`);
process.stdout.write(`${((Date.now() - started) / 1000).toFixed(0)} s in all\n`);
const failed = totals.failed + (totals.failed === 0 ? failedStages : 0);
process.stdout.write(`${totals.passed} passed, ${failed} failed, ${totals.skips.length} skipped\n`);
process.exitCode = failedStages === 0 && totals.passed > 0 ? 0 : 1;

function chooseFiles(names) {
  const rank = (path) => (SLOW.findIndex((name) => path.includes(name)) + SLOW.length + 1) % (SLOW.length + 1);
  const all = globSync("dist/test/**/*.test.js")
    .sort()
    .sort((a, b) => rank(a) - rank(b));
  if (names.length === 0) return all;
  const chosen = all.filter((path) => names.some((name) => path.includes(name.replace(/\.ts$/, ""))));
  if (chosen.length > 0) return chosen;
  process.stderr.write(`no test file's path contains ${names.join(" or ")}\n`);
  process.exit(1);
}

async function runTests(files) {
  const from = Date.now();
  const folder = mkdtempSync(join(tmpdir(), "ztap-test-"));
  const path = join(folder, "totals.json");
  try {
    const env = { ZTAP_TEST_TOTALS: path };
    const patience = process.env.ZTAP_SOAK === "1" ? ["--timeout", "0"] : [];
    const { code } = await run(
      [bin("tap"), "run", "--reporter", "./test/reporter.mjs", "--jobs", "2", ...patience, ...files],
      { passOn: true, env },
    );
    tell(code, "tests", from);
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    process.stdout.write(`the tests ended without totals: ${error.message}\n`);
    return { passed: 0, failed: 1, skips: [] };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function tell(code, name, from) {
  if (code !== 0) failedStages += 1;
  const seconds = ((Date.now() - from) / 1000).toFixed(1).padStart(6);
  process.stdout.write(`${code === 0 ? "ok  " : "FAIL"}  ${name.padEnd(28)} ${seconds} s\n`);
}

function run(args, { passOn = false, env = {} } = {}) {
  const stdout = passOn && process.stdout.isTTY ? "inherit" : "pipe";
  return new Promise((resolve) => {
    const child = spawn(node, args, {
      stdio: ["ignore", stdout, stdout],
      env: { ...process.env, FORCE_COLOR: "0", ...env },
    });
    let output = "";
    const hear = (chunk) => (passOn ? process.stdout.write(`${chunk}`.replaceAll(SHOW_CURSOR, "")) : (output += chunk));
    child.stdout?.on("data", hear);
    child.stderr?.on("data", hear);
    child.on("error", (error) => resolve({ code: 1, output: `${error}\n` }));
    child.on("close", (code) => resolve({ code: code ?? 1, output }));
  });
}
