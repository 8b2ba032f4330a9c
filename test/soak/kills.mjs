/**
 * Kills under load: test/faults/kills.test.ts again and again, beside processes that keep every core busy.
 *
 *     npm run soak -- kills [runs, 10] [busy processes, one more than there are cores]
 *
 * Prints one line a run with its count of kills and its seed; ends with 1 if any failed. A run has 200 kills.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { availableParallelism } from "node:os";
import { join } from "node:path";

const [runs = 10, busy = availableParallelism() + 1] = process.argv.slice(2).map(Number);
const test = join(import.meta.dirname, "../../dist/test/faults/kills.test.js");
const load = Array.from({ length: busy }, () => spawn(process.execPath, ["-e", "for(;;);"], { stdio: "ignore" }));
let failed = 0;
try {
  for (let run = 1; run <= runs; run += 1) {
    const from = Date.now();
    const child = spawn(process.execPath, [test], {
      // A run takes minutes where the cores are busy with something else.
      env: { ...process.env, ZTAP_SOAK: "1", TAP_TIMEOUT: "3600" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (output += chunk));
    const [code] = await once(child, "close");
    if (code !== 0) failed += 1;
    const told = [...output.matchAll(/# (seed \d+|\d+ kills.*)/g)].map(([, line]) => line).join("; ");
    const seconds = Math.round((Date.now() - from) / 1000);
    process.stdout.write(`${code === 0 ? "ok  " : "FAIL"} run ${run}: ${told} (${seconds} s)\n`);
    if (code !== 0) process.stdout.write(output);
  }
} finally {
  for (const child of load) child.kill("SIGKILL");
}
process.stdout.write(`${runs} runs beside ${busy} busy processes, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
