/**
 * For `npm pack` in a clone: `write` makes the npm-shrinkwrap.json that the package has, `remove` takes it away again, since npm would
 * prefer it to package-lock.json.
 */
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { closure } from "./modules.mjs";
import { shrinkwrap } from "./npm.mjs";

const root = join(import.meta.dirname, "../..");
const FILE = join(root, "npm-shrinkwrap.json");
const read = (name) => JSON.parse(readFileSync(join(root, name), "utf8"));

if (process.argv[2] === "write") {
  const [manifest, lock] = [read("package.json"), read("package-lock.json")];
  const paths = closure(lock, Object.keys(manifest.dependencies), true);
  writeFileSync(FILE, JSON.stringify(shrinkwrap({ lock, manifest }, manifest.dependencies, paths), null, 2));
} else rmSync(FILE, { force: true });
