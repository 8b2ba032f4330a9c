/** The man pages and the help of every command. */
import { spawnSync } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import t from "tap";
import { Ztap } from "./ztap.js";

const ROOT = new URL("../../../", import.meta.url).pathname;
const isThere = (program: string) => spawnSync("sh", ["-c", `command -v ${program}`]).status === 0;
const pages = globSync(`${ROOT}dist/man/*.1`).sort();
const manifest: Readonly<Record<string, Command>> = JSON.parse(
  readFileSync(`${ROOT}oclif.manifest.json`, "utf8"),
).commands;

interface Command {
  readonly id: string;
  readonly hidden?: boolean;
  readonly aliases: readonly string[];
  readonly hiddenAliases: readonly string[];
}

const commands = Object.values(manifest).filter(({ hidden }) => hidden !== true);

t.test("there is a page for ztap and for every command, and none for an alias", async (t) => {
  const wanted = ["ztap", ...commands.map(({ id }) => `ztap-${id.replaceAll(":", "-")}`)].sort();
  t.same(pages.map((page) => basename(page, ".1")).sort(), wanted);
});

t.test("groff warns of nothing", { skip: !isThere("groff") && "groff is not installed" }, async (t) => {
  for (const page of pages) {
    const { status, stdout, stderr } = spawnSync("groff", ["-ww", "-man", "-Tutf8", page], { encoding: "utf8" });
    t.same([status, stderr], [0, ""], page);
    t.ok(stdout.length > 500, `${page} has text`);
  }
});

t.test("mandoc finds nothing to mend", { skip: !isThere("mandoc") && "mandoc is not installed" }, async (t) => {
  const { stdout } = spawnSync("mandoc", ["-Tlint", ...pages], { encoding: "utf8" });
  // A version that is not released has no date.
  const found = stdout.split("\n").filter((line) => line !== "" && !line.includes("missing date"));
  t.same(found, []);
});

t.test("a page has what the command has", { skip: !isThere("mandoc") && "mandoc is not installed" }, async (t) => {
  const text = (name: string) =>
    spawnSync("mandoc", ["-Tutf8", "-O", "width=200", join(ROOT, "dist/man", `${name}.1`)], { encoding: "utf8" })
      .stdout // Bold and underlined as on a typewriter.
      .replace(/.\u0008/g, "");
  const plan = text("ztap-plan");
  t.match(plan, /ztap-plan – show what would change|ztap-plan - show what would change/);
  t.match(plan, "ztap plan [SOURCE] [FLAG ...]");
  t.match(plan, /ALIASES\n +ztap diff\./);
  t.match(plan, /--format text\|json\|markdown\n.*\(default: text\)\. Variable: ZTAP_PLAN_FORMAT\./);
  const all = text("ztap");
  for (const fact of [
    "ztap-plan(1)",
    "/etc/ztap/config.yaml",
    "ZTAP_SOURCE_INTERVAL",
    "source.interval",
    "130",
    "NO_COLOR",
  ])
    t.match(all, fact);
  t.match(text("ztap-policy-list"), /-o, --output table\|wide\|json\|yaml/);
});

t.test("the pages depend on nothing but the sources", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), `ztap-cli-${process.pid}-man-`));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const script = `import("${ROOT}bin/man.mjs").then(({ writeManPages }) => writeManPages("${ROOT}", "${folder}"))`;
  const env = { ...process.env, TZ: "Pacific/Kiritimati", LC_ALL: "C", SOURCE_DATE_EPOCH: "1" };
  t.equal(spawnSync(process.execPath, ["-e", script], { env, cwd: "/" }).status, 0);
  for (const page of pages)
    t.equal(readFileSync(join(folder, basename(page)), "utf8"), readFileSync(page, "utf8"), page);
});

t.test("every command, and every alias, has its help at -h and --help", async (t) => {
  const ztap = new Ztap(t);
  const seen = await Promise.all(
    commands.map(async ({ id, aliases, hiddenAliases }) => {
      const [alias] = [...hiddenAliases, ...aliases];
      const words =
        alias === undefined
          ? [[...id.split(":"), "-h"]]
          : [
              [...id.split(":"), "-h"],
              [...alias.split(":"), "--help"],
            ];
      return { id, aliases, helps: await Promise.all(words.map((line) => ztap.run(line))) };
    }),
  );
  for (const { id, aliases, helps } of seen)
    for (const { code, stdout, stderr } of helps) {
      t.same([code, stderr], [0, ""], id);
      t.match(stdout, /^USAGE\n/m, id);
      for (const alias of aliases) t.match(stdout, `ztap ${alias.replaceAll(":", " ")}`, `${id}: the alias is shown`);
    }
  t.match((await ztap.run(["--help"])).stdout, /^TOPICS\n(?: .*\n)* {2}describe .*\n(?: .*\n)* {2}get /m);
  t.match((await ztap.run(["get"])).stdout, /get policies .*\n(.*\n)*.*get workloads/);
});
