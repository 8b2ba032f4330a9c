/**
 * `npm run soak`: what `npm test` repeats for a proof, repeated for volume. It takes hours; `npm run soak -- NAME [ARGUMENTS]`
 * runs one part. Figures of past runs stand in docs/benchmarks.md.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";

const root = join(import.meta.dirname, "../..");
const repeated = [
  ...["faults/", "cluster/history", "plan/connectivity", "policy/expectations"],
  ...["kernel/agreement", "kernel/gap", "kernel/lifecycle", "kernel/versions"],
];
const PARTS = {
  readers: ["dist/test/manifest/readers/soak.js"],
  sim: ["dist/test/sim/soak.js"],
  kills: ["test/soak/kills.mjs"],
  tests: ["test/run.mjs", ...repeated],
};

const [name, ...args] = process.argv.slice(2);
const chosen = name === undefined ? Object.keys(PARTS) : [name];
if (!chosen.every((one) => one in PARTS)) {
  process.stderr.write(`npm run soak knows ${Object.keys(PARTS).join(", ")}; there is no ${name}\n`);
  process.exit(64);
}
for (const part of chosen) {
  process.stdout.write(`soak: ${part}\n`);
  const { status } = spawnSync(process.execPath, [...PARTS[part], ...args], {
    cwd: root,
    env: { ...process.env, ZTAP_SOAK: "1" },
    stdio: "inherit",
  });
  if (status !== 0) process.exitCode = 1;
}
