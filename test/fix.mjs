/** `npm run fix`: formats with Prettier, and repairs what ESLint can repair. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { CHECKS } from "./suites.mjs";

process.chdir(join(import.meta.dirname, ".."));
const REPAIRS = { format: ["--check", "--write"], lint: ["--max-warnings", "--fix", "--max-warnings"] };
for (const [name, [program, ...args]] of CHECKS) {
  const [from, ...to] = REPAIRS[name] ?? [];
  if (from === undefined) continue;
  const repairing = args.flatMap((arg) => (arg === from ? to : [arg]));
  const { status } = spawnSync(process.execPath, [program, ...repairing], { stdio: "inherit" });
  if (status !== 0) process.exitCode = 1;
}
