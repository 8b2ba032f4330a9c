/**
 * The modules that a module imports, directly or not, and digests of them: what a test or a check has to look at again
 * after a change. Reads the sources, not what is compiled: types count as well.
 */
import { createHash } from "node:crypto";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";

/** Imports, types included; and programs that a test starts: `new URL("./actor.js", import.meta.url)`. */
const SPECIFIER = /(?:\bfrom|\bimport|\bimport\(|\bnew URL\()\s*"(\.[^"]*)"/g;
/** Code that reads the tree or runs programs may look at any file. */
const READS_FILES = /"node:(?:fs|fs\/promises|child_process)"/;
/** What every module depends on. */
const BASE = ["package-lock.json", "tsconfig.json", "eslint.config.js"];

export class Sources {
  #digests = new Map();
  #imports = new Map();
  #closures = new Map();
  #tree = null;

  /** Files that Git tracks, and new ones that it does not ignore. */
  static list() {
    const output = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
      encoding: "utf8",
      maxBuffer: 1 << 26,
    });
    return [...new Set(output.split("\0"))].filter((path) => path !== "" && existsSync(path)).sort();
  }

  /** @returns paths from the root of the checkout: the module, and all that it imports */
  closureOf(path) {
    const known = this.#closures.get(path);
    if (known !== undefined) return known;
    const found = new Set([path]);
    for (const file of found) for (const imported of this.#importsOf(file)) found.add(imported);
    this.#closures.set(path, found);
    return found;
  }

  /** Of the module, all that it imports, the packages and the compiler's settings. */
  digestOf(path) {
    return digest([...BASE, ...[...this.closureOf(path)].sort()].map((file) => `${file} ${this.#digestOfFile(file)}`));
  }

  /** Of all that a test may look at: what it imports, and every file where it reads files itself. */
  digestOfTest(path) {
    const readsFiles = [...this.closureOf(path)].some(
      (file) => file.startsWith("test/") && READS_FILES.test(readFileSync(file, "utf8")),
    );
    return readsFiles ? this.tree : this.digestOf(path);
  }

  /** Of every file. */
  get tree() {
    this.#tree ??= digest(Sources.list().map((file) => `${file} ${this.#digestOfFile(file)}`));
    return this.#tree;
  }

  #importsOf(path) {
    const known = this.#imports.get(path);
    if (known !== undefined) return known;
    const specifiers = path.endsWith(".ts") ? readFileSync(path, "utf8").matchAll(SPECIFIER) : [];
    const files = [...specifiers].map(([, to]) => resolve(path, to)).filter((file) => file !== null);
    this.#imports.set(path, files);
    return files;
  }

  #digestOfFile(path) {
    let known = this.#digests.get(path);
    if (known === undefined) this.#digests.set(path, (known = digest([readFileSync(path)])));
    return known;
  }
}

function resolve(from, specifier) {
  const path = normalize(join(dirname(from), specifier));
  return [path.replace(/\.js$/, ".ts"), path].find((file) => /\.\w+$/.test(file) && existsSync(file)) ?? null;
}

function digest(parts) {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part).update("\n");
  return hash.digest("hex");
}
