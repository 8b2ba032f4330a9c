/** What is packed, and when it was made: the same for two builds of one commit. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** The names that others give to a machine. */
export const MACHINES = {
  amd64: { node: "x64", rpm: "x86_64", triple: "x86_64-linux-gnu" },
  arm64: { node: "arm64", rpm: "aarch64", triple: "aarch64-linux-gnu" },
};

export function fail(text) {
  process.stderr.write(`package: ${text}\n`);
  process.exit(1);
}

/** Runs a program; what it says is shown only if it fails. */
export function run(command, args, options = {}) {
  try {
    return execFileSync(command, args, { stdio: ["ignore", "pipe", "pipe"], maxBuffer: 2 ** 28, ...options });
  } catch (error) {
    process.stderr.write(`${error.stdout ?? ""}${error.stderr ?? ""}`);
    return fail(`${command} ${args.slice(0, 3).join(" ")} failed: ${error.code ?? `exit code ${error.status}`}`);
  }
}

export function readProject(root, { release, isQuick }) {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const packaging = join(root, ".packaging");
  for (const path of ["dist/cli/help.txt", "dist/bundled.json", "oclif.manifest.json", ".packaging/stamp"])
    if (!existsSync(join(root, path))) fail(`${path} is missing; run \`npm run package\``);
  const versions = readFileSync(join(packaging, "versions"), "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(" "))
    .map(([name, version, machine, image]) => ({ name, version, machine, image }));
  return {
    root,
    packaging,
    /** Whether bin/package/bring brought everything, or only what a package for amd64 is made of. */
    hasAll: readFileSync(join(packaging, "stamp"), "utf8").trimEnd().endsWith(" all"),
    manifest,
    release,
    isQuick,
    version: manifest.version,
    // ~ sorts before everything, as - does in SemVer, and is no separator to dpkg and rpm.
    debianVersion: manifest.version.replace("-", "~"),
    epoch: readEpoch(root),
    lock: JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")),
    /** The packages of Debian that are linked in or, with `image`, in an image: name, version, machine or `source`. */
    versions,
    commands: Object.keys(JSON.parse(readFileSync(join(root, "oclif.manifest.json"), "utf8")).commands),
  };
}

/** The time of the commit, for every file. */
function readEpoch(root) {
  const given = process.env.SOURCE_DATE_EPOCH;
  if (given !== undefined) {
    if (!/^[0-9]+$/.test(given)) fail(`SOURCE_DATE_EPOCH=${given} is no time`);
    return Number(given);
  }
  return Number(run("git", ["-C", root, "log", "-1", "--format=%ct"]).toString().trim());
}
