/** The examples of docs/api.md, run as a program that has ztap as a package runs them; what each prints stands below it. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import t from "tap";
import { Sandbox, whyNot } from "../kernel/sandbox.js";
import { HANG_MS } from "../wait.js";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));
const page = readFileSync(join(ROOT, "docs/api.md"), "utf8");
const examples = [...page.matchAll(/^```js( enforces)?\n([\s\S]*?)^```\n\n^```text\n([\s\S]*?)^```$/gm)];
const run = promisify(execFile);

const folder = mkdtempSync(join(tmpdir(), `ztap-api-${process.pid}-`));
t.teardown(() => rmSync(folder, { recursive: true, force: true }));
mkdirSync(join(folder, "node_modules"));
symlinkSync(ROOT, join(folder, "node_modules/ztap"));

t.equal(examples.length, page.match(/^```js/gm)?.length, "each example has its output");

for (const [index, [, enforces, code = "", output]] of examples.entries()) {
  const reason = enforces === undefined ? null : whyNot();
  const options = reason === null ? {} : { skip: `needs the kernel: ${reason}` };
  t.test(`example ${index + 1} of docs/api.md`, options, async (t) => {
    let program = code;
    if (enforces !== undefined) {
      const sandbox = new Sandbox(t);
      const [node, cgroup] = [sandbox.node("api"), sandbox.cgroup("api")];
      program = code.replaceAll("host-1", node).replace("system.slice/web.service", cgroup);
    }
    const file = join(folder, `example-${index}.mjs`);
    writeFileSync(file, program);
    const { stdout, stderr } = await run(process.execPath, [file], { timeout: HANG_MS });
    t.equal(stdout, output);
    t.equal(stderr, "");
  });
}
