/** The cache of compiled code, which Node.js runs as it is: it is used only where nobody else can have written it. */
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import type { Test } from "tap";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

/** A checkout with a program that does nothing. @returns how to run it, and the folder of its cache */
function checkout(t: Test) {
  const folder = t.testdir({ bin: {}, dist: { cli: { cli: { "main.js": "export const main = () => {};" } } } });
  cpSync(join(ROOT, "bin/ztap.cjs"), join(folder, "bin/ztap.cjs"));
  writeFileSync(join(folder, "package.json"), JSON.stringify({ type: "module", engines: { node: ">=22.13.0" } }));
  const cache = join(folder, "dist/.cache");
  const run = (): void => {
    const script = 'umask 0 && exec "$1" "$2" version';
    const { status, stderr } = spawnSync("sh", ["-c", script, "sh", process.execPath, join(folder, "bin/ztap.cjs")], {
      encoding: "utf8",
      env: { PATH: process.env["PATH"] },
    });
    t.equal(status, 0, stderr);
  };
  return { folder, cache, run };
}

/** The versions of Node.js for which there is compiled code. */
const filled = (cache: string): readonly string[] =>
  readdirSync(cache).filter((name) => readdirSync(join(cache, name)).length > 0);

await t.test("made for this user alone to write, whatever the mask", async (t) => {
  const { cache, run } = checkout(t);
  run();
  const [version = ""] = filled(cache);
  for (const path of [cache, join(cache, version)]) t.equal(statSync(path).mode & 0o777, 0o755, path);
});

await t.test("not used where others can write", async (t) => {
  const { cache, run } = checkout(t);
  mkdirSync(cache);
  chmodSync(cache, 0o775);
  run();
  t.same(readdirSync(cache), []);
});

await t.test("not used where others can write into the folder of a version", async (t) => {
  const { cache, run } = checkout(t);
  run();
  const [version = ""] = filled(cache);
  const own = join(cache, version);
  for (const file of readdirSync(own)) writeFileSync(join(own, file), "");
  const sizes = () => readdirSync(own).map((name) => statSync(join(own, name)).size);
  chmodSync(own, 0o777);
  run();
  t.ok(
    sizes().every((size) => size === 0),
    "what is there was left as it was",
  );
  chmodSync(own, 0o755);
  run();
  t.ok(
    sizes().some((size) => size > 0),
    "and is made anew where it is trusted",
  );
});

await t.test("not used where it is a link", async (t) => {
  const { folder, cache, run } = checkout(t);
  mkdirSync(join(folder, "else"));
  symlinkSync(join(folder, "else"), cache);
  run();
  t.same(readdirSync(join(folder, "else")), []);
});

const skip = process.getuid?.() === 0 ? false : "needs root";
await t.test("not used where it is another user's", { skip }, async (t) => {
  const { cache, run } = checkout(t);
  mkdirSync(cache);
  chownSync(cache, 65534, 65534);
  run();
  t.same(existsSync(cache) && readdirSync(cache), []);
});
