/** Says where the bytes are, and refuses packages that are larger than promised. */
import { globSync, lstatSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { fail } from "./project.mjs";

const MIB = 1024 * 1024;
export const LIMITS = { installed: 140 * MIB, packed: 40 * MIB };
/** The parts of the tree that are told apart; what is in none of them is the rest. */
const PARTS = ["runtime", "node_modules", "dist/native", "dist/cli", "examples", "schemas"].map(
  (part) => `usr/lib/ztap/${part}`,
);
const OTHER = ["usr/share/doc", "usr/share"];

export function reportTree(machine, tree) {
  const sizes = new Map();
  for (const file of globSync("**/*", { cwd: tree, dot: true })) {
    const stat = lstatSync(join(tree, file));
    if (!stat.isFile()) continue;
    const part = [...PARTS, ...OTHER].find((one) => file.startsWith(`${one}/`)) ?? "the rest";
    sizes.set(part, (sizes.get(part) ?? 0) + stat.size);
  }
  const total = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  say(`${machine}: ${mib(total)} installed`);
  for (const [part, size] of [...sizes].sort(([, a], [, b]) => b - a)) say(`    ${mib(size)}  ${part}`);
  if (total > LIMITS.installed) fail(`${machine}: more than ${mib(LIMITS.installed)} installed`);
}

/** @param file a package. One that is hardly compressed is for tests, and has no limit; nor has an image, with a system inside. */
export function checkPackage(file, { isQuick }) {
  const { size } = statSync(file);
  say(`${basename(file)}: ${mib(size)}`);
  if (size > LIMITS.packed && !isQuick && !file.endsWith(".oci.tar"))
    fail(`${basename(file)} is larger than ${mib(LIMITS.packed)}`);
}

function mib(bytes) {
  return `${(bytes / MIB).toFixed(1).padStart(6)} MiB`;
}

export function say(text) {
  process.stdout.write(`${text}\n`);
}
