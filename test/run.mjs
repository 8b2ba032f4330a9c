/**
 * `npm test`: everything, in stages. Each stage prints one line; the output of one that fails is
 * shown. What could not run here is named at the end, with the reason.
 */
import { spawn } from "node:child_process";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
process.chdir(root);
const bin = (name) => join("node_modules", ".bin", name);
const node = process.execPath;

const STAGES = [
  [
    "format",
    node,
    [bin("prettier"), "--check", "--log-level", "warn", "src", "test", "bin", "native", "*.js", "*.cjs"],
  ],
  ["lint", node, [bin("eslint"), "--max-warnings", "0", "src", "test"]],
  ["layers", node, [bin("depcruise"), "src", "--config", ".dependency-cruiser.cjs", "--output-type", "err"]],
  ["dead code", node, [bin("knip"), "--include", "files,exports,types,dependencies,unlisted", "--no-progress"]],
  ["tests", node, [bin("tap"), "run", "--reporter", "tap", "--jobs", "2", ...process.argv.slice(2)]],
];

const started = Date.now();
let failed = 0;
const totals = { passed: 0, failed: 0, skipped: 0 };
const skips = [];
for (const [name, command, args] of STAGES) {
  const from = Date.now();
  const { code, output } = await run(command, args);
  const seconds = ((Date.now() - from) / 1000).toFixed(1).padStart(6);
  process.stdout.write(`${code === 0 ? "ok  " : "FAIL"}  ${name.padEnd(10)} ${seconds} s\n`);
  if (name === "tests") readTap(output);
  if (code !== 0) {
    failed += 1;
    process.stdout.write(name === "tests" ? failures(output) : output);
  }
}
for (const skip of skips) process.stdout.write(`skipped: ${skip}\n`);
process.stdout.write(`${((Date.now() - started) / 1000).toFixed(0)} s in all\n`);
process.stdout.write(
  `${totals.passed} passed, ${totals.failed + (failed > 0 && totals.failed === 0 ? failed : 0)} failed, ${skips.length} skipped\n`,
);
process.exitCode = failed === 0 && totals.passed > 0 ? 0 : 1;

function run(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, FORCE_COLOR: "0" },
    });
    let output = "";
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (output += chunk));
    child.on("error", (error) => resolve({ code: 1, output: `${error}\n` }));
    child.on("close", (code) => resolve({ code: code ?? 1, output }));
  });
}

/** Leaves of the TAP tree: assertions that say ok or not ok and open no block of their own. */
function readTap(output) {
  for (const line of output.split("\n")) {
    const match = /^\s*(not )?ok \d+(?: - (.*))?$/.exec(line);
    if (match === null) continue;
    const skip = / # SKIP ?(.*)$/i.exec(match[2] ?? "");
    if (skip !== null) skips.push(`${(match[2] ?? "").replace(/ # SKIP.*$/i, "")} — ${skip[1]}`);
    else if (match[1] === undefined) totals.passed += 1;
    else totals.failed += 1;
  }
}

/** The failed assertions with their diagnostics, without the thousands that passed. */
function failures(output) {
  const lines = output.split("\n");
  const shown = [];
  for (let index = 0; index < lines.length; index += 1) {
    if (!/^\s*not ok/.test(lines[index])) continue;
    shown.push(...lines.slice(index, index + 40), "");
    index += 39;
  }
  return `${(shown.length > 0 ? shown : lines.slice(-60)).join("\n")}\n`;
}
