/** What has passed, with the digest of all that it looked at, so that `npm run check` need not look at the same again. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { CACHE } from "./suites.mjs";

export class Passed {
  #file;
  #digests;

  /** @param name of the file below the cache's folder */
  constructor(name) {
    this.#file = join(CACHE, `${name}.json`);
    this.#digests = read(this.#file);
  }

  has(name, digest) {
    return this.#digests[name] === digest;
  }

  add(name, digest) {
    this.#digests[name] = digest;
  }

  save() {
    mkdirSync(dirname(this.#file), { recursive: true });
    // A run that is killed meanwhile leaves the old file whole.
    const next = `${this.#file}.${process.pid}`;
    writeFileSync(next, JSON.stringify(this.#digests));
    renameSync(next, this.#file);
  }
}

function read(file) {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    if (error.code === "ENOENT" || error instanceof SyntaxError) return {};
    throw error;
  }
}
