/**
 * Makes docs/cli.md, the reference of all commands and settings, from the manifest of the built CLI and the
 * schema of the settings; and src/manifest/help.generated.ts, the help on each diagnostic
 * that reports carry, from the tables of docs/diagnostics.md.
 * `node docs/generate.mjs` writes them; `--check` exits 1 where what is committed is not what they are made from.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { defaultOf, EXIT_CODES, readReference, synopsisOf, valueOf } from "../bin/reference.mjs";

const root = new URL("../", import.meta.url);
const { commands, globals, settings } = readReference();

const inCell = (text) => text.replaceAll("|", "\\|");

function flagRow(flag) {
  const value = valueOf(flag);
  const name = `${flag.char ? `-${flag.char}, ` : ""}--${flag.name}${value === null ? "" : ` ${inCell(value)}`}`;
  const need = flag.required ? "**required**: " : "";
  return `| \`${name}\` | ${flag.env ? `\`${flag.env}\`` : ""} | ${need}${flag.description}${defaultOf(flag)} |`;
}

function section(command) {
  const { name, args, flags, aliases } = command;
  const examples = command.examples.map((example) => `    ${example}`);
  return [
    `## ${name}`,
    "",
    `    ${[name, ...synopsisOf(command)].join(" ")}`,
    "",
    command.summary,
    ...(command.description ? ["", command.description] : []),
    "",
    ...(aliases.length > 0 ? [`Also: ${aliases.map((alias) => `\`${alias}\``).join(", ")}.`, ""] : []),
    ...args.map((arg) => `- \`${arg.name.toUpperCase()}\`: ${arg.description}`),
    ...(args.length > 0 ? [""] : []),
    ...(flags.length > 0 ? ["| flag | variable | |", "| --- | --- | --- |", ...flags.map(flagRow), ""] : []),
    ...(examples.length > 0 ? ["Examples:", "", ...examples, ""] : []),
  ];
}

function settingRow({ key, flag, variable, defaultText, help }) {
  return `| \`${key}\` | ${flag ? `\`--${flag}\`` : ""} | \`${variable}\` | ${defaultText} | ${inCell(help)}. |`;
}

const text = [
  "# Command reference",
  "",
  "Generated from the commands by `node docs/generate.mjs`; do not edit.",
  "",
  "Flag beats variable beats configuration file; [operations.md](operations.md#settings) says which files are read. Output",
  "for people goes to stdout, logs and problems to stderr. With `--json` each command prints one document, whose schema",
  "stands in [schemas/output](../schemas/output).",
  "",
  "| exit code | means |",
  "| --- | --- |",
  ...EXIT_CODES.map(([code, meaning]) => `| ${code} | ${meaning} |`),
  "",
  "Every command takes:",
  "",
  "| flag | variable | |",
  "| --- | --- | --- |",
  ...globals.map(flagRow),
  "| `-h, --help` | | what the command does, its arguments and flags |",
  "",
  "## Settings",
  "",
  "Generated from [schemas/config.schema.json](../schemas/config.schema.json). `source.url` in the file is `url` below",
  "`source`. A time is a number with its unit: 500ms, 10s, 5m, 1h. `ztap config show` prints each value and its origin.",
  "",
  "| key | flag | variable | default | |",
  "| --- | --- | --- | --- | --- |",
  ...settings.map(settingRow),
  "",
  ...commands.flatMap(section),
].join("\n").replace(/\n+$/, "\n");

// A bar within a cell is written with a backslash before it.
const cells = (row) => row.split(/(?<!\\)\|/).slice(1, -1).map((cell) => cell.trim().replaceAll("\\|", "|"));
const help = readFileSync(new URL("docs/diagnostics.md", root), "utf8")
  .split("\n")
  .filter((line) => /^\| ZT\d{4} \|/.test(line))
  .map(cells)
  .map(([code, , , example, fix]) => `  ${code}: ${JSON.stringify({ example, fix })},`);
const module = [
  "/** Made from docs/diagnostics.md by `node docs/generate.mjs`; do not edit. */",
  "export const HELP: Readonly<Record<string, { readonly example: string; readonly fix: string }>> = {",
  ...help,
  "};",
  "",
].join("\n");

const isCheck = process.argv.includes("--check");
for (const [path, content, origin] of [
  ["docs/cli.md", text, "the commands"],
  ["src/manifest/help.generated.ts", module, "docs/diagnostics.md"],
]) {
  const file = new URL(path, root);
  if (!isCheck) writeFileSync(file, content);
  else if (!existsSync(file) || readFileSync(file, "utf8") !== content) {
    console.error(`${path} is not what ${origin} says: run node docs/generate.mjs`);
    process.exitCode = 1;
  }
}
