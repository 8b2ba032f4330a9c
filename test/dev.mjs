/**
 * `npm run dev [-- NAME…]`: compiles at each change and prints type errors; then runs the test files whose path contains one
 * of the names. Ctrl-C ends it and its children.
 */
import { spawn, spawnSync } from "node:child_process";
import { join } from "node:path";

process.chdir(join(import.meta.dirname, ".."));
const names = process.argv.slice(2);
const compiler = spawn(process.execPath, ["node_modules/typescript/bin/tsc", "--watch", "--preserveWatchOutput"], {
  stdio: ["ignore", "pipe", "inherit"],
});
let tests = null;
compiler.stdout.on("data", (chunk) => {
  process.stdout.write(chunk);
  if (!String(chunk).includes("Found 0 errors") || names.length === 0) return;
  // A change while the tests run starts them anew. They run the bundle of ./bin/ztap too: it is built first.
  tests?.kill("SIGTERM");
  if (spawnSync(process.execPath, ["bin/build.mjs"], { stdio: "inherit" }).status !== 0) return;
  tests = spawn(process.execPath, ["test/run.mjs", ...names], { stdio: "inherit" });
});
compiler.on("close", (code) => process.exit(code ?? 0));
for (const signal of ["SIGINT", "SIGTERM"])
  process.on(signal, () => {
    tests?.kill("SIGTERM");
    compiler.kill("SIGTERM");
  });
