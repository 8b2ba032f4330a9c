/**
 * Builds dist/ from src/ and test/: tsc checks and emits every module (library and tests), esbuild
 * makes one small bundle a command (start-up time), oclif writes the manifest that spares loading
 * commands for help;
 * from the manifest come the man pages and the scripts of completion. Does nothing where no input is
 * newer than the last build.
 *
 *     node bin/build.mjs          all of it
 *     node bin/build.mjs types    the modules alone, where an input is newer than they are
 *     node bin/build.mjs cli      what ./bin/ztap runs, its manifest and its overview, of sources that were checked before
 *     node bin/build.mjs bundle   what ./bin/ztap runs, of sources that were checked before
 */
import { execFileSync } from "node:child_process";
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { EXTERNAL } from "./external.mjs";
import { writeManPages } from "./man.mjs";

const root = join(import.meta.dirname, "..");
process.chdir(root);

/** Of the last whole build, and of the last compilation. */
const BUILT = "dist/.built";
const COMPILED = "dist/.compiled";
const INPUTS = [
  "src/**/*.ts",
  "test/**/*.ts",
  "examples/**/*.ts",
  "schemas/**/*.json",
  "package.json",
  "package-lock.json",
  "tsconfig.json",
  "bin/*.mjs",
  "CHANGELOG.md",
];

const [part = "all"] = process.argv.slice(2);
if (part === "types") compile();
else if (part === "bundle") await bundle();
else if (part === "cli") await buildCli();
else await buildAll();

async function buildAll() {
  const inputs = readInputs();
  if (isDone(BUILT, inputs)) return;
  process.stdout.write("setup: building\n");
  compile();
  await buildCli();
  mark(BUILT, inputs);
}

async function buildCli() {
  await bundle();
  run("node_modules/oclif/bin/run.js", ["manifest", "."], "ignore");
  sortManifest("oclif.manifest.json");
  // The overview as it is printed where there is no terminal to measure: 80 columns, no colours.
  writeFileSync("dist/cli/help.txt", ztap("--help"));
  writeManPages(root);
  mkdirSync("dist/completions", { recursive: true });
  for (const [shell, file] of Object.entries({ bash: "ztap.bash", zsh: "_ztap", fish: "ztap.fish" }))
    writeFileSync(join("dist/completions", file), ztap("completion", shell));
}

/** oclif lists the commands in the order in which the file system does. */
function sortManifest(file) {
  const { commands, ...others } = JSON.parse(readFileSync(file, "utf8"));
  const sorted = Object.fromEntries(Object.entries(commands).sort(([a], [b]) => (a < b ? -1 : 1)));
  writeFileSync(file, JSON.stringify({ commands: sorted, ...others }, null, 2));
}

function compile() {
  const inputs = readInputs();
  if (isDone(COMPILED, inputs)) return;
  removeOrphans();
  run("node_modules/typescript/bin/tsc", ["-p", "."]);
  mark(COMPILED, inputs);
}

function readInputs() {
  const files = globSync(INPUTS).sort();
  const newest = Math.max(...files.map((file) => statSync(file).mtimeMs));
  return { list: files.join("\n"), newest, started: new Date() };
}

function isDone(stamp, { list, newest }) {
  return existsSync(stamp) && statSync(stamp).mtimeMs >= newest && readFileSync(stamp, "utf8") === list;
}

/** What was changed while it was built is newer than the stamp. */
function mark(stamp, { list, started }) {
  writeFileSync(stamp, list);
  utimesSync(stamp, started, started);
}

/** Compiled files whose source is gone would still run as tests. */
function removeOrphans() {
  for (const file of globSync("dist/{src,test,examples}/**/*.js")) {
    const source = file.slice("dist/".length);
    if (!existsSync(source) && !existsSync(source.replace(/\.js$/, ".ts"))) {
      for (const ending of [".js", ".js.map", ".d.ts"]) rmSync(file.replace(/\.js$/, ending), { force: true });
      rmSync("dist/.tsbuildinfo", { force: true });
    }
  }
}

function run(script, args, stdout = "inherit") {
  try {
    execFileSync(process.execPath, [script, ...args], { stdio: ["ignore", stdout, "inherit"] });
  } catch (error) {
    process.stderr.write(`setup: ${script} failed\n`);
    process.exit(error.status ?? 1);
  }
}

/** What the built CLI prints. */
function ztap(...args) {
  return execFileSync(process.execPath, ["bin/ztap.cjs", ...args], {
    env: { ...process.env, NO_COLOR: "1", COLUMNS: "80" },
  });
}

function entry(path, folder) {
  return { in: path, out: join(folder, basename(path, ".ts")).slice("src/".length) };
}

async function bundle() {
  const { build } = await import("esbuild");
  rmSync("dist/cli", { recursive: true, force: true });
  const { metafile } = await build({
    entryPoints: [
      ...["src/cli/main.ts", ...globSync("src/commands/**/*.ts")].map((path) => entry(path, dirname(path))),
      // Beside the chunk that starts it.
      entry("src/wiring/manifest-script.ts", "src/chunks"),
    ],
    outdir: "dist/cli",
    chunkNames: "chunks/[name]-[hash]",
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node22",
    minify: true,
    keepNames: true,
    legalComments: "none",
    sourcemap: false,
    // oclif looks for typescript only in development.
    external: [...EXTERNAL, "typescript"],
    // CommonJS packages inside an ES module bundle still call require.
    banner: {
      js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
    },
    logLevel: "warning",
    metafile: true,
  });
  writeFileSync("dist/bundled.json", `${JSON.stringify(packagesOf(Object.keys(metafile.inputs)), null, 2)}\n`);
}

/** The folders of npm packages that files belong to: what a package of ztap has inside its bundle. */
function packagesOf(files) {
  const folders = files.map((file) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0]);
  return [...new Set(folders.filter((folder) => folder !== undefined))].sort();
}
