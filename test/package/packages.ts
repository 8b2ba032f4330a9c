/** Packages of this checkout, made for the tests by bin/package.mjs, hardly compressed. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { Test } from "tap";
import { ROOT } from "./root.js";

/** `npm run test:hosts` takes every system and every Node.js that is supported; `npm test` the first of each. */
export const supported = <T>(first: T, ...others: readonly T[]): readonly T[] =>
  process.env["ZTAP_HOSTS"] === "1" ? [first, ...others] : [first];

/** @returns why no package for amd64, or not those of all forms and machines, can be made here, or null */
export function whyNoPackages(what: "amd64" | "all" = "amd64"): string | null {
  const stamp = join(ROOT, ".packaging/stamp");
  if (!existsSync(stamp)) return "needs .packaging, which bin/package/bring brings";
  if (what === "all" && !readFileSync(stamp, "utf8").trimEnd().endsWith(" all"))
    return "needs all of .packaging, which bin/package/bring brings without an argument";
  return null;
}

/** @returns the packages' files, below a folder that is removed with the test */
export function makePackages(t: Test, args: readonly string[], checkout = ROOT): readonly string[] {
  const folder = mkdtempSync(join(tmpdir(), `ztap-packages-${process.pid}-`));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const out = join(folder, "out");
  execFileSync(process.execPath, [join(checkout, "bin/package.mjs"), "--quick", "--out", out, ...args], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  return globSync("*", { cwd: out })
    .sort()
    .map((name) => join(out, name));
}

export function fileOf(files: readonly string[], ending: string): string {
  const found = files.find((file) => file.endsWith(ending));
  if (found === undefined) throw new Error(`no package ends in ${ending}: ${files.join(" ")}`);
  return found;
}

/** An apt repository with the packages, signed with a key of its own (`key.gpg`). @returns its folder */
export function makeRepository(t: Test, packages: readonly string[]): string {
  const folder = mkdtempSync(join(tmpdir(), `ztap-repository-${process.pid}-`));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const repository = join(folder, "repository");
  const home = join(folder, "gnupg");
  for (const path of [repository, home]) mkdirSync(path, { mode: 0o700 });
  for (const file of packages) copyFileSync(file, join(repository, basename(file)));
  const run = (command: string, args: readonly string[]): string =>
    execFileSync(command, args, { cwd: repository, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const list = run("dpkg-scanpackages", ["--multiversion", "."]);
  writeFileSync(join(repository, "Packages"), list);
  const sum = createHash("sha256").update(list).digest("hex");
  writeFileSync(join(repository, "Release"), `Suite: test\nSHA256:\n ${sum} ${Buffer.byteLength(list)} Packages\n`);
  const gpg = (...args: string[]) => run("gpg", ["--homedir", home, "--batch", "--passphrase", "", ...args]);
  gpg("--quick-generate-key", "packages of a test", "ed25519", "sign", "never");
  gpg("--clearsign", "--output", "InRelease", "Release");
  gpg("--export", "--output", "key.gpg");
  run("gpgconf", ["--homedir", home, "--kill", "all"]);
  return repository;
}
