/** Each folder of more than five files has a README.md that names every one of them, and no other. */
import { existsSync, globSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import t from "tap";

const MAX_FILES = 5;
const MAX_LINES = 30;

const folders = [...new Set(globSync(["src/**/*.*", "native/**/*.*", "test/**/*.*"]).map(dirname))].sort();

t.test("each large folder has a README.md that names its files", async (t) => {
  t.ok(folders.length > 50, "the folders are found");
  for (const folder of folders) {
    const entries = readdirSync(folder, { withFileTypes: true }).filter(({ name }) => name !== "README.md");
    const files = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
    const page = join(folder, "README.md");
    if (!existsSync(page)) {
      t.ok(files.length <= MAX_FILES, `${folder} has ${files.length} files and no README.md`);
      continue;
    }
    const text = readFileSync(page, "utf8");
    t.ok(text.split("\n").length - 1 <= MAX_LINES, `${page} has at most ${MAX_LINES} lines`);
    const named = new Set([...text.matchAll(/(?:`|\]\()([\w.-]+\/?)[`)]/g)].map(([, name = ""]) => name));
    t.same(
      files.filter((name) => !named.has(name)),
      [],
      `${page} names every file`,
    );
    const gone = [...named].filter((name) => /\.(ts|mjs|h|c|cc|pl)$/.test(name) || name.endsWith("/"));
    t.same(
      gone.filter((name) => !existsSync(join(folder, name))),
      [],
      `${page} names only files and folders that are there`,
    );
  }
});

t.test("the table `Where …` of src/README.md names existing files and functions", async (t) => {
  const rows = readFileSync("src/README.md", "utf8")
    .split("\n")
    .filter((line) => /^\| .*\? \|/.test(line));
  t.ok(rows.length > 4, "the rows are found");
  const cells = rows.flatMap((row) => [...row.matchAll(/`([\w./-]+\/[\w.-]*)`(?: \(`(#?\w+)`\))?/g)]);
  t.ok(cells.length >= rows.length, "the files are found");
  for (const [, file = "", name] of cells) {
    t.ok(existsSync(file), file);
    if (name !== undefined) t.ok(readFileSync(file, "utf8").includes(`${name}(`), `${file} has ${name}`);
  }
});
