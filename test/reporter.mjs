/**
 * The reporter of `npm test`: a line for each test file when it ends, its failures at once, and the totals as JSON in the file
 * that ZTAP_TEST_TOTALS names. On a terminal the files that run are shown as well.
 *
 * tap takes a React component for a reporter that sees events as they come; this one draws nothing by React.
 */
import { writeFileSync } from "node:fs";
import { relative } from "node:path";
import { stringify } from "yaml";

/** Characters of a failed file's standard error that are shown. */
const STDERR_SHOWN = 4000;

const totals = { passed: 0, failed: 0, skips: [] };
const files = { added: 0, ended: 0, running: new Map() };
let isAttached = false;

export default function Progress({ test }) {
  if (isAttached) return null;
  isAttached = true;
  test.on("subtestAdd", () => (files.added += 1));
  test.on("subtestStart", (file) => {
    files.running.set(file, read(file));
    showRunning();
  });
  test.on("subtestEnd", (file) => {
    files.ended += 1;
    report(file, files.running.get(file));
    files.running.delete(file);
    showRunning();
  });
  test.on("complete", () => {
    clearLine();
    const path = process.env.ZTAP_TEST_TOTALS;
    if (path !== undefined) writeFileSync(path, JSON.stringify(totals));
  });
  return null;
}

/** Collects what the file says while it runs. Assertions are the leaves: those that open a block have a time of their own. */
function read(file) {
  const heard = { from: Date.now(), failures: [], errors: "" };
  const readParser = (parser, path) => {
    parser.on("child", (child) => readParser(child, [...path, child.name]));
    parser.on("assert", (result) => {
      const name = [...path, result.name].filter(Boolean).join(" › ");
      if (result.skip) totals.skips.push(result.skip === true ? name : `${name} — ${result.skip}`);
      else if (!result.ok) heard.failures.push({ name, diag: result.diag, isBlock: result.time !== null });
      else if (result.time === null) totals.passed += 1;
    });
  };
  readParser(file.parser, []);
  file.on("process", ({ stderr }) => {
    stderr?.on("data", (chunk) => (heard.errors = `${heard.errors}${chunk}`.slice(-STDERR_SHOWN)));
  });
  return heard;
}

function report(file, { from, failures, errors }) {
  clearLine();
  const ok = file.results?.ok ?? false;
  const plan = file.results?.plan;
  if (ok && plan?.skipAll) totals.skips.push(`${nameOf(file)} — ${plan.skipReason || plan.comment}`);
  const seconds = ((Date.now() - from) / 1000).toFixed(1).padStart(6);
  write(`${ok ? "ok  " : "FAIL"}  ${nameOf(file).padEnd(28)} ${seconds} s  ${files.ended} of ${files.added}\n`);
  if (ok) return;
  const leaves = failures.filter(({ isBlock }) => !isBlock);
  totals.failed += Math.max(1, leaves.length);
  for (const { name, diag } of leaves.length > 0 ? leaves : failures) {
    write(`      not ok: ${name}\n${diag == null ? "" : indent(stringify(diag))}`);
  }
  if (failures.length === 0) write("      it ended before its tests did\n");
  if (errors !== "") write(indent(errors.endsWith("\n") ? errors : `${errors}\n`));
}

const nameOf = ({ name }) => relative("dist/test", name).replace(/\.test\.js$/, "");
const indent = (text) => text.replace(/^(?=.)/gm, "        ");
const write = (text) => process.stdout.write(text);

function showRunning() {
  if (!process.stdout.isTTY || files.running.size === 0) return;
  clearLine();
  write(`      ${[...files.running.keys()].map(nameOf).join(", ")} …`.slice(0, (process.stdout.columns ?? 80) - 1));
}

function clearLine() {
  if (process.stdout.isTTY) write("\r\x1b[K");
}
