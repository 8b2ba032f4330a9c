/**
 * A process that takes pf's lock at each line "take" of its standard input, says "taken" or why not, and gives it back at
 * "drop".
 *
 *     node lock-rival.js <folder>
 */
import { createInterface } from "node:readline";
import { takeLock, type Lock } from "../../src/adapters/pf/pfctl/lock.js";
import { EnforcerError } from "../../src/interfaces/enforcer.js";

const [folder = ""] = process.argv.slice(2);
let lock: Lock | null = null;
process.stdout.write("ready\n");
for await (const line of createInterface({ input: process.stdin })) {
  if (line === "drop") {
    await lock?.release();
    lock = null;
    process.stdout.write("dropped\n");
    continue;
  }
  try {
    lock = await takeLock(folder);
    process.stdout.write("taken\n");
  } catch (error) {
    process.stdout.write(`${error instanceof EnforcerError ? error.code : String(error)}\n`);
  }
}
