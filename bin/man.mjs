/**
 * The man pages, from the same data as docs/cli.md: ztap(1), and one page for each command. Their text depends on the
 * sources alone; the date is that of the version in CHANGELOG.md, and none for a version that is not released.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defaultOf, EXIT_CODES, FILES, readReference, synopsisOf, valueOf, VARIABLES } from "./reference.mjs";

const MAX_COLUMNS = 78;

/** @param folder the checkout */
export function writeManPages(folder, target = join(folder, "dist/man")) {
  rmSync(target, { recursive: true, force: true });
  mkdirSync(target, { recursive: true });
  const reference = readReference();
  const date = readDate(readFileSync(join(folder, "CHANGELOG.md"), "utf8"), reference.version);
  const pages = [
    ["ztap", overview(reference)],
    ...reference.commands.map((command) => [pageName(command.name), page(command, reference)]),
  ];
  for (const [name, body] of pages) {
    const title = `.TH ${quoted(name.toUpperCase())} 1 "${date}" ${quoted(`ztap ${reference.version}`)} "ztap Manual"`;
    const text = ['.\\" Generated from the commands of ztap; do not edit.', title, ".nh", ".ad l", ...body, ""].join(
      "\n",
    );
    writeFileSync(join(target, `${name}.1`), text);
  }
}

function readDate(changelog, version) {
  const heading = changelog
    .split("\n")
    .find((line) => line.startsWith(`## ${version}`) || line.startsWith(`## [${version}]`));
  return /\d{4}-\d{2}-\d{2}/.exec(heading ?? "")?.[0] ?? "";
}

const pageName = (name) => name.replaceAll(" ", "-");

function overview({ description, commands, globals, settings }) {
  return [
    ...section("NAME"),
    ...purpose("ztap", description),
    ...section("SYNOPSIS"),
    ".B ztap",
    ".I COMMAND",
    "[\\fIARGUMENT\\fR ...] [\\fIFLAG\\fR ...]",
    ...section("DESCRIPTION"),
    ...paragraph(
      "ztap reconciles hosts with the network policy of a Git repository: each host runs an agent (`ztap agent`), which enforces the policy of its workloads in the kernel. The other commands show, check and change what is enforced. Output for people goes to stdout, logs and problems to stderr. With `--json` a command prints one document.",
    ),
    ...section("COMMANDS"),
    ...commands.flatMap(({ name, summary, aliases }) => [
      ".TP",
      `.BR ${escaped(pageName(name))} (1)`,
      ...filled(summary),
      ...(aliases.length === 0 ? [] : filled(`Also: ${names(aliases)}.`)),
    ]),
    ...section("GLOBAL FLAGS"),
    ...globals.flatMap(flagEntry),
    ...helpEntry(),
    ...section("SETTINGS"),
    ...paragraph(
      "A setting is a key of the configuration file (`source.url` is `url` below `source`), a variable, and for most a flag. A flag overrides a variable, and a variable the file. A time is a number with its unit: 500ms, 10s, 5m, 1h. `ztap config show` prints each value and its origin.",
    ),
    ...settings.flatMap(settingEntry),
    ...section("EXIT STATUS"),
    ...EXIT_CODES.flatMap(([code, meaning]) => entry(bold(code), meaning)),
    ...section("ENVIRONMENT"),
    ...settings.flatMap(({ variable, key }) => entry(bold(variable), `the setting \`${key}\``)),
    ...globals
      .filter(({ env }) => env !== undefined && !settings.some(({ variable }) => variable === env))
      .flatMap(({ env, name }) => entry(bold(env), `the flag \`--${name}\``)),
    ...VARIABLES.flatMap(([name, meaning]) => entry(bold(name), meaning)),
    ...paragraph("Most other flags have a variable too; the page of each command names them."),
    ...section("FILES"),
    ...FILES.flatMap(([path, meaning]) => entry(italic(path), meaning)),
    ...section("SEE ALSO"),
    ...references(["ztap agent", "ztap plan", "ztap apply", "ztap policy show", "ztap doctor"], commands),
  ];
}

function page(command, { commands, globals }) {
  const { name, summary, description, args, flags, examples, aliases, isVariadic } = command;
  const rest = isVariadic ? " ..." : "";
  return [
    ...section("NAME"),
    ...purpose(pageName(name), summary),
    ...section("SYNOPSIS"),
    `.B ${escaped(name)}`,
    `${synopsisOf(command).map(escaped).join(" ")}${rest} [\\fIFLAG\\fR ...]`.trim(),
    ...(aliases.length === 0 ? [] : [...section("ALIASES"), ...filled(`${names(aliases)}.`)]),
    ...section("DESCRIPTION"),
    ...paragraph(summary),
    ...(description === undefined ? [] : [".PP", ...paragraph(description)]),
    ...(args.length === 0 ? [] : section("ARGUMENTS")),
    ...args.flatMap((arg) => entry(italic(arg.name.toUpperCase()), upperFirst(`${arg.description ?? ""}.`))),
    ...(flags.length === 0 ? [] : section("FLAGS")),
    ...flags.flatMap(flagEntry),
    ...section("GLOBAL FLAGS"),
    ...globals.flatMap(flagEntry),
    ...helpEntry(),
    ...(examples.length === 0 ? [] : [...section("EXAMPLES"), ".nf", ...examples.map(escaped), ".fi"]),
    ...section("EXIT STATUS"),
    ...paragraph("See `ztap`(1)."),
    ...section("SEE ALSO"),
    ...references(["ztap", ...neighbours(name, commands)], commands),
  ];
}

/** The line that `apropos` reads. */
function purpose(page, text) {
  const [first, ...rest] = filled(lowerFirst(text).replace(/\.$/, ""), escaped(`${page} `).length + 2);
  return [`${escaped(page)} \\- ${first}`, ...rest];
}

/** The other commands of the topic. */
function neighbours(name, commands) {
  const [, topic, below] = name.split(" ");
  if (below === undefined) return [];
  return commands.map((command) => command.name).filter((other) => other !== name && other.split(" ")[1] === topic);
}

function references(wanted, commands) {
  const known = wanted.filter((name) => name === "ztap" || commands.some((command) => command.name === name));
  return known.map((name, index) => `.BR ${escaped(pageName(name))} (1)${index === known.length - 1 ? "" : ","}`);
}

function flagEntry(flag) {
  const value = valueOf(flag);
  const names = [...(flag.char === undefined ? [] : [`-${flag.char}`]), `--${flag.name}`].map(bold).join(", ");
  const head = value === null ? names : `${names} ${italic(value)}`;
  const variable = flag.env === undefined ? "" : ` Variable: ${flag.env}.`;
  const need = flag.required ? "Required: " : "";
  return entry(head, `${need}${upperFirst(flag.description ?? "")}${defaultOf(flag)}.${variable}`);
}

function helpEntry() {
  return entry([bold("-h"), bold("--help")].join(", "), "What the command does, its arguments and flags.");
}

function settingEntry({ key, flag, variable, defaultText, help }) {
  const names = [...(flag === undefined ? [] : [`\`--${flag}\``]), variable].join(", ");
  return entry(bold(key), `${help}. Default: ${defaultText}. ${upperFirst(names)}.`);
}

const names = (aliases) => aliases.map((alias) => `\`${alias}\``).join(", ");
const section = (title) => [`.SH ${title}`];
const entry = (head, text) => [".TP", head, ...filled(text)];
const paragraph = (text) =>
  text.split("\n").flatMap((line, index) => [...(index === 0 ? [] : [".PP"]), ...filled(line)]);
const bold = (text) => `\\fB${escaped(text)}\\fR`;
const italic = (text) => `\\fI${escaped(text)}\\fR`;
const quoted = (text) => `"${escaped(text)}"`;
const lowerFirst = (text) => text.replace(/^[A-Z](?=[a-z ])/, (first) => first.toLowerCase());
const upperFirst = (text) => text.replace(/^[a-z](?=[a-z]* )/, (first) => first.toUpperCase());

/** Text with `code` in bold, in lines of bounded length; `taken` columns of the first are in use. */
function filled(text, taken = 0) {
  const words = text
    .split("`")
    .map((part, index) => (index % 2 === 0 ? escaped(part) : `\\fB${escaped(part)}\\fR`))
    .join("")
    .split(" ");
  const lines = [];
  let line = "";
  for (const word of words.filter((one) => one !== "")) {
    const used = line.length + (lines.length === 0 ? taken : 0);
    if (line !== "" && used + word.length >= MAX_COLUMNS) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line].map((one) => (/^[.']/.test(one) ? `\\&${one}` : one));
}

const NAMED = { "\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti", '"': "\\(dq" };

/** Text of no meaning to roff, in ASCII. */
function escaped(text) {
  return [...text]
    .map((one) => {
      if (NAMED[one] !== undefined) return NAMED[one];
      const code = one.codePointAt(0);
      return code < 128 ? one : `\\[u${code.toString(16).toUpperCase().padStart(4, "0")}]`;
    })
    .join("");
}
