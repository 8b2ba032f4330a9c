/** Scripts that are not compiled import only what the modules of dist/ export. */
import { globSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import t from "tap";

const scripts = globSync(["test/**/*.mjs", "examples/**/*.mjs", "docs/*.mjs", "bin/*.{mjs,cjs}"]);
const IMPORT = /import (?:\{([^}]*)\}|\* as \w+) from "(\.[^"]*\/dist\/[^"]*)"/g;

for (const script of scripts) {
  const imports = [...readFileSync(script, "utf8").matchAll(IMPORT)];
  if (imports.length === 0) continue;
  t.test(script, async (t) => {
    for (const [, names = "", path = ""] of imports) {
      const file = resolve(join(dirname(script), path));
      const exports: object = await import(pathToFileURL(file).href);
      const wanted = names.split(",").flatMap((name) => name.trim().split(" as ")[0] || []);
      t.same(
        wanted.filter((name) => !(name in exports)),
        [],
        path,
      );
    }
  });
}
