/**
 * The reference of ztap as data: the commands from the manifest of the built CLI, the settings from their schema, and
 * what no code declares, such as the files. docs/cli.md and the man pages are made from it.
 */
import { readFileSync } from "node:fs";
import { readSettings } from "../schemas/settings.mjs";

const root = new URL("../", import.meta.url);
const GLOBAL = "GLOBAL";

export const EXIT_CODES = [
  ["0", "done, or no difference"],
  ["1", "failed"],
  ["2", "`plan --detailed-exitcode` found changes"],
  ["3", "`policy show --detailed-exitcode` found drift"],
  ["64", "the command line was wrong"],
  ["130", "Ctrl-C at a question; nothing was changed"],
];

/** Without root both folders of /var/lib are one below $XDG_STATE_HOME. */
export const FILES = [
  ["/etc/ztap/config.yaml", "the configuration of the machine"],
  [
    "$XDG_CONFIG_HOME/ztap/config.yaml",
    "that of the user, which wins for each key (~/.config/ztap/config.yaml where the variable is not set; root only where it is set)",
  ],
  [
    "/var/lib/ztap",
    "the embedded store, mirrors of the source, and the last enforced state of each node of this machine",
  ],
  ["$XDG_STATE_HOME/ztap", "the same for other users than root (~/.local/state/ztap where the variable is not set)"],
  ["/sys/fs/bpf/ztap", "pinned programs and maps: the enforcement itself, which outlives the agent"],
];

/** Variables that set no setting and no flag. */
export const VARIABLES = [
  ["NO_COLOR", "if it is set, nothing is coloured"],
  ["SUDO_USER", "under sudo, the author of a revision that a command commits"],
];

/**
 * @returns commands sorted by name; each with its `name` as it is typed, `args`, `flags` of its own and `aliases` (first
 * those that are offered)
 */
export function readReference() {
  const { version, commands: listed } = JSON.parse(readFileSync(new URL("oclif.manifest.json", root), "utf8"));
  const { description } = JSON.parse(readFileSync(new URL("package.json", root), "utf8")).oclif;
  const all = Object.values(listed).sort((a, b) => (a.id < b.id ? -1 : 1));
  const commands = all.filter(({ hidden }) => hidden !== true).map(toCommand);
  const globals = flagsOf(all[0]).filter(({ helpGroup }) => helpGroup === GLOBAL);
  return { version, description, commands, globals, settings: readSettings() };
}

function toCommand({ id, summary, description, args, flags, examples = [], aliases = [], hiddenAliases = [], strict }) {
  return {
    name: nameOf(id),
    summary,
    description,
    args: Object.values(args),
    isVariadic: strict === false,
    flags: flagsOf({ flags }).filter(({ helpGroup }) => helpGroup !== GLOBAL),
    examples: examples.map((example) => example.replaceAll("<%= config.bin %>", "ztap")),
    aliases: [...aliases, ...hiddenAliases].map(nameOf),
  };
}

const nameOf = (id) => `ztap ${id.replaceAll(":", " ")}`;

function flagsOf({ flags }) {
  return Object.values(flags)
    .filter(({ hidden }) => hidden !== true)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** The value that a flag takes, as help names it; null for a flag without one. */
export function valueOf(flag) {
  if (flag.type === "boolean") return null;
  return flag.helpValue ?? flag.options?.join("|") ?? "VALUE";
}

/** The part of a flag's help that says its default; empty where the description says it, or there is none. */
export function defaultOf(flag) {
  return flag.default === undefined || flag.default === "" || flag.type === "boolean"
    ? ""
    : ` (default: ${flag.default})`;
}

/** The words of a synopsis after the command's name. */
export function synopsisOf({ args, flags }) {
  return [
    ...args.map(({ name, required }) => (required ? name.toUpperCase() : `[${name.toUpperCase()}]`)),
    ...flags.filter(({ required }) => required).map((flag) => `--${flag.name} ${valueOf(flag)}`),
  ];
}
