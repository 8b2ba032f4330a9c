/** The npm packages that the bundled CLI loads when it runs, exactly as locked, without what nothing loads. */
import { cpSync, existsSync, globSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { EXTERNAL } from "../external.mjs";
import { fail } from "./project.mjs";

/** Packages that have only types; some name them as dependencies. */
const TYPES = /^(@types\/.*|undici-types)$/;
/** What Node.js loads, and the licence. */
const KEPT = /\.(js|cjs|mjs|json|proto|wasm|node)$|^(licen[cs]e|copying|notice|authors)/i;
const TYPE_FILE = /\.d\.[cm]?ts$/;
/** Folders that a package's own code never loads from. */
const UNUSED = /(^|\/)(tests?|__tests__|benchmarks?|bench|examples?|docs?|\.github|coverage)(\/|$)/;
/** Builds for browsers, and tools for developers. */
const UNLOADED = [
  "node_modules/@viz-js/viz/lib",
  "node_modules/@viz-js/viz/dist/viz-global.js",
  "node_modules/protobufjs/dist",
  "node_modules/protobufjs/cli",
];

/**
 * @param hasTypes whether packages that have only types count as well
 * @returns the folders below the root, `node_modules/a/node_modules/b`
 */
export function closure(lock, names = EXTERNAL, hasTypes = false) {
  const found = new Set();
  const visit = (from, name, isOptional) => {
    if (TYPES.test(name) && !hasTypes) return;
    const path = resolve(lock, from, name);
    if (path === null) {
      if (!isOptional) fail(`${name}, which ${from || "ztap"} needs, is not in package-lock.json`);
      return;
    }
    if (found.has(path)) return;
    found.add(path);
    const { dependencies = {}, optionalDependencies = {} } = lock.packages[path];
    for (const one of Object.keys(dependencies)) visit(path, one, one in optionalDependencies);
  };
  for (const name of names) visit("", name, false);
  return [...found].sort();
}

/** As Node.js looks for a package: beside the one that asks, then further up. */
function resolve(lock, from, name) {
  for (let at = from; ;) {
    const path = join(at, "node_modules", name);
    if (lock.packages[path] !== undefined) return path;
    if (at === "") return null;
    const end = at.lastIndexOf("/node_modules/");
    at = end < 0 ? "" : at.slice(0, end);
  }
}

/** @param hasTypes whether type declarations are copied as well, for programs that import ztap */
export function copyModules(project, target, paths = closure(project.lock), hasTypes = false) {
  for (const path of paths) {
    const folder = join(project.root, path);
    const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const locked = project.lock.packages[path].version;
    if (version !== locked) fail(`${path} is ${version}, and package-lock.json has ${locked}`);
    for (const file of globSync("**/*", { cwd: folder, exclude: (one) => basename(one) === "node_modules" }).sort()) {
      const source = join(folder, file);
      if (statSync(source).isDirectory() || !isKept(file, hasTypes)) continue;
      if (UNLOADED.some((one) => join(path, file).startsWith(one))) continue;
      cpSync(source, join(target, path, file));
    }
    if (!existsSync(join(target, path, "package.json"))) fail(`${path} is empty`);
  }
}

function isKept(file, hasTypes) {
  if (UNUSED.test(file)) return false;
  return TYPE_FILE.test(file) ? hasTypes : KEPT.test(basename(file));
}
