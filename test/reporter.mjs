/**
 * The reporter of `npm test`: a line for each check and test file when it ends, its failures at once, and the totals. On a
 * terminal what runs is shown as well.
 */
import { stringify } from "yaml";

/** Characters of a failed file's standard error that are shown. */
const STDERR_SHOWN = 4000;

const indent = (text) => text.replace(/^(?=.)/gm, "        ");
const seconds = (number) => `${number.toFixed(1).padStart(6)} s`;
const write = (text) => process.stdout.write(text);

export class Reporter {
  #totals = { passed: 0, failed: 0, skips: [] };
  #running = new Map();
  #ended = 0;
  #added = 0;
  #unchanged = 0;
  #from = Date.now();
  #readTimes;

  /** @param readTimes gives the seconds of processor time that a file took, or null */
  constructor(t, readTimes) {
    this.#readTimes = readTimes;
    t.on("subtestAdd", () => (this.#added += 1));
    t.on("subtestStart", (file) => {
      this.#running.set(file, this.#read(file));
      this.#showRunning();
    });
    t.on("subtestEnd", (file) => {
      this.#ended += 1;
      clearLine();
      this.#report(file, this.#running.get(file));
      this.#running.delete(file);
      this.#showRunning();
    });
  }

  /** Of a check or file that has passed before, and whose sources are the same. */
  countUnchanged() {
    this.#unchanged += 1;
  }

  sayTotals() {
    clearLine();
    const { passed, failed, skips } = this.#totals;
    if (this.#unchanged > 0) write(`${this.#unchanged} parts have passed before, and have not changed\n`);
    for (const skip of skips) write(`skipped: ${skip}\n`);
    write(`${((Date.now() - this.#from) / 1000).toFixed(0)} s in all\n`);
    write(`${passed} passed, ${failed} failed, ${skips.length} skipped\n`);
    if (passed + this.#unchanged === 0) process.exitCode = 1;
  }

  /** Collects what the file says while it runs. Assertions are the leaves: those that open a block have a time of their own. */
  #read(file) {
    const heard = { from: Date.now(), failures: [], errors: "" };
    const readParser = (parser, path) => {
      parser.on("child", (child) => readParser(child, [...path, child.name]));
      parser.on("assert", (result) => {
        const name = [...path, result.name].filter(Boolean).join(" › ");
        if (result.skip) this.#totals.skips.push(result.skip === true ? name : `${name} — ${result.skip}`);
        else if (!result.ok) heard.failures.push({ name, diag: result.diag, isBlock: result.time !== null });
        else if (result.time === null) this.#totals.passed += 1;
      });
    };
    readParser(file.parser, []);
    file.on("process", ({ stderr }) => {
      stderr?.on("data", (chunk) => (heard.errors = `${heard.errors}${chunk}`.slice(-STDERR_SHOWN)));
    });
    return heard;
  }

  #report(file, { from, failures, errors }) {
    const ok = file.results?.ok ?? false;
    const plan = file.results?.plan;
    if (ok && plan?.skipAll) this.#totals.skips.push(`${file.name} — ${plan.skipReason || plan.comment}`);
    const times = this.#readTimes(file.name);
    const cpu = times === null ? "" : `${seconds(times)} of processors`;
    const line = [`${ok ? "ok  " : "FAIL"}  ${file.name.padEnd(28)} ${seconds((Date.now() - from) / 1000)}`, cpu];
    write(`${[...line, `${this.#ended} of ${this.#added}`].filter(Boolean).join("  ")}\n`);
    if (ok) return;
    const leaves = failures.filter(({ isBlock }) => !isBlock);
    this.#totals.failed += Math.max(1, leaves.length);
    for (const { name, diag } of leaves.length > 0 ? leaves : failures) {
      write(`      not ok: ${name}\n${diag == null ? "" : indent(stringify(diag))}`);
    }
    if (failures.length === 0) write("      it ended before its tests did\n");
    if (errors !== "") write(indent(errors.endsWith("\n") ? errors : `${errors}\n`));
  }

  #showRunning() {
    if (!process.stdout.isTTY || this.#running.size === 0) return;
    clearLine();
    const names = [...this.#running.keys()].map(({ name }) => name);
    write(`      ${names.join(", ")} …`.slice(0, (process.stdout.columns ?? 80) - 1));
  }
}

function clearLine() {
  if (process.stdout.isTTY) write("\r\x1b[K");
}
