/** The installed files of a machine, below a folder that stands for `/`. */
import {
  chmodSync,
  cpSync,
  existsSync,
  globSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { writeLicences } from "./licences.mjs";
import { copyModules } from "./modules.mjs";
import { checkGlibc } from "./native.mjs";
import { fail } from "./project.mjs";

export const TEMPLATES = join(import.meta.dirname, "templates");
/** What belongs to the administrator once it is installed. */
export const CONFIGURATION = ["etc/ztap/config.yaml"];
const LIB = "usr/lib/ztap";
const DOC = "usr/share/doc/ztap";
/** Where the shells look for completions, by the names that the build gives to them. */
const COMPLETIONS = {
  "ztap.bash": "usr/share/bash-completion/completions/ztap",
  _ztap: "usr/share/zsh/vendor-completions/_ztap",
  "ztap.fish": "usr/share/fish/vendor_completions.d/ztap.fish",
};
const PROGRAMS = new Set(["bin/ztap", "bin/node", "runtime/node"].map((path) => join(LIB, path)));

/** @returns the folder */
export function layTree(project, machine, native, tree) {
  const { root } = project;
  const copy = (from, to) => cpSync(from, join(tree, to), { recursive: true, dereference: true });
  for (const path of ["bin/ztap", "bin/ztap.cjs", "bin/node", "dist/cli", "oclif.manifest.json", "LICENSE"])
    copy(join(root, path), join(LIB, path));
  // What `ztap init` copies.
  for (const path of ["examples/starter", ".github/actions/plan", "schemas"]) copy(join(root, path), join(LIB, path));
  copy(native.addon, `${LIB}/dist/native/ztap.node`);
  copy(native.programs, `${LIB}/dist/native/ztap.bpf.o`);
  write(tree, `${LIB}/package.json`, packageJson(project.manifest));
  copyModules(project, join(tree, LIB));
  const node = join(project.packaging, machine, "node/node");
  checkGlibc(node, `Node.js for ${machine}`);
  copy(node, `${LIB}/runtime/node`);

  mkdirSync(join(tree, "usr/bin"), { recursive: true });
  symlinkSync("../lib/ztap/bin/ztap", join(tree, "usr/bin/ztap"));
  copy(join(TEMPLATES, "config.yaml"), "etc/ztap/config.yaml");
  for (const file of globSync("examples/systemd/*.service", { cwd: root }).sort())
    write(
      tree,
      join("usr/lib/systemd/system", basename(file)),
      packagedUnit(readFileSync(join(root, file), "utf8"), file),
    );
  // Under any umask: the folder holds code that root runs.
  mkdirSync(join(tree, "var/cache/ztap"), { recursive: true });
  layDocuments(project, machine, tree);
  normalise(tree, project.epoch);
  return tree;
}

function layDocuments(project, machine, tree) {
  const { root } = project;
  for (const path of ["README.md", ...globSync("docs/**/*.md", { cwd: root })])
    write(tree, join(DOC, path), readFileSync(join(root, path), "utf8"));
  cpSync(join(root, "examples"), join(tree, DOC, "examples"), {
    recursive: true,
    filter: (path) => !/\.ts$/.test(path),
  });
  write(tree, `${DOC}/changelog.gz`, gzip(readFileSync(join(root, "CHANGELOG.md"))));
  writeLicences(project, machine, tree, DOC);
  for (const page of globSync("dist/man/*.1", { cwd: root }))
    write(tree, `usr/share/man/man1/${basename(page)}.gz`, gzip(readFileSync(join(root, page))));
  for (const [name, path] of Object.entries(COMPLETIONS)) {
    const file = join(root, "dist/completions", name);
    if (existsSync(file)) write(tree, path, readFileSync(file));
  }
}

/** Without the time and the system that zlib writes into the head. */
function gzip(bytes) {
  const zipped = gzipSync(bytes, { level: 9 });
  zipped[9] = 3;
  return zipped;
}

/** What Node.js, the CLI and oclif read of it. */
function packageJson({ name, version, description, license, type, engines, bin, oclif }) {
  return `${JSON.stringify({ name, version, description, license, type, engines, bin, oclif }, null, 2)}\n`;
}

/** The examples are for /usr/local and say how to copy them; packaged units are there already. */
function packagedUnit(text, file) {
  const packaged = text
    .replaceAll("/usr/local/bin", "/usr/bin")
    .replace(/Install: copy to \/etc\/systemd\/system, then /, "Enable with ");
  if (!packaged.includes("ExecStart=/usr/bin/ztap ") || packaged.includes("copy to"))
    fail(`${file} is not as expected`);
  return packaged;
}

function write(tree, path, content) {
  mkdirSync(dirname(join(tree, path)), { recursive: true });
  writeFileSync(join(tree, path), content);
}

/** Modes and times are the same in every build, in each checkout. */
export function normalise(tree, epoch, isProgram = (path) => PROGRAMS.has(path)) {
  for (const path of ["", ...globSync("**/*", { cwd: tree, dot: true })]) {
    const file = join(tree, path);
    const stat = lstatSync(file);
    if (!stat.isSymbolicLink()) chmodSync(file, stat.isDirectory() || isProgram(path) ? 0o755 : 0o644);
    lutimesSync(file, epoch, epoch);
  }
}
