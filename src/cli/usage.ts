/**
 * Explains a wrong command line in one sentence, with the most likely intended command and its usage.
 *
 * oclif reports a usage error in its own words, with few facts. So its sentences are parsed here, and nowhere else; an
 * unknown sentence is shown as it is, which the tests would detect.
 */
import type { Command } from "@oclif/core";
import { suggest } from "../model/suggest.js";
import { answerFamiliar } from "./familiar.js";

type Called = Pick<typeof Command, "id" | "flags" | "baseFlags" | "args">;
type Flags = (typeof Command)["flags"];

/** Explains oclif's message about an unknown command; it joins topic and command with a colon. */
export function describeUsage(message: string, commands: readonly string[]): string {
  return message
    .replace(/^command (\S+) not found$/, (_, id: string) => describeCommand(id.split(":"), commands))
    .replace(/\nSee more help with --help$/, "; see --help");
}

/**
 * Describes an unknown command. Words after it may be its arguments: the longest start that resembles a command counts.
 */
function describeCommand(words: readonly string[], commands: readonly string[]): string {
  const topics = new Set(commands.filter((id) => id.includes(":")).map((id) => id.split(":", 1).join("")));
  const [first = ""] = words;
  if (first.startsWith("-")) return `there is no flag ${first} without a command; \`ztap --help\` lists the commands`;
  const starts = words.map((_, index) => words.slice(0, words.length - index).join(":"));
  const receiver = starts.slice(1).find((start) => commands.includes(start));
  if (receiver !== undefined) {
    const name = receiver.replaceAll(":", " ");
    return `ztap ${name} takes no argument: ${words.slice(receiver.split(":").length).join(" ")}; see \`ztap ${name} --help\``;
  }
  const known = [...commands, ...topics];
  const meant = starts.map((start) => suggest(start, known)).find((id) => id !== undefined && id !== first);
  const hint =
    meant === undefined
      ? `\`ztap ${topics.has(first) ? `${first} ` : ""}--help\` lists all commands`
      : `did you mean \`ztap ${meant.replaceAll(":", " ")}\`?`;
  return `there is no command ${words.join(" ")}; ${answerFamiliar(words) ?? hint}`;
}

/** Explains an error of oclif's parser: one sentence per problem, and the command's usage. */
export function describeParsing(error: Error, command: Called): string {
  const flags = { ...command.baseFlags, ...command.flags };
  return [...problemsOf(error, command, flags), usageLine(command, flags)].join("\n");
}

function problemsOf(error: Error, command: Called, flags: Flags): readonly string[] {
  if ("flags" in error && Array.isArray(error.flags))
    return error.flags.map((flag) => describeFlag(String(flag), Object.keys(flags)));
  if ("args" in error && Array.isArray(error.args)) return error.args.map((arg) => describeArg(arg, command));
  const lines = error.message
    .replace(/\nSee more help with --help$/, "")
    .replace(/^The following errors? occurred:\n/, "")
    .replace(/(?<!\s)\s*\n\t/, " ")
    .split("\n");
  return lines.map((line) => rephrase(line.trim(), flags));
}

/**
 * Describes an unknown flag.
 * @param flag as it was typed, `--nope` or `-x`
 */
function describeFlag(flag: string, names: readonly string[]): string {
  const meant = suggest(flag.replace(/^-+/, ""), names);
  return `there is no flag ${flag}; ${meant === undefined ? "--help lists all flags" : `did you mean --${meant}?`}`;
}

/** oclif gives missing arguments by their definition, and extra ones by their text. */
function describeArg(arg: unknown, { args }: Called): string {
  if (typeof arg === "string") {
    const taken = Object.keys(args).map((name) => name.toUpperCase());
    const wanted = taken.length === 0 ? "it takes no argument" : `it takes no more than ${taken.join(" and ")}`;
    return `${JSON.stringify(arg)} is one argument too many: ${wanted}`;
  }
  const found = Object.entries(args).find(([, definition]) => definition === arg || definition.name === nameOf(arg));
  const [name = "an argument", definition] = found ?? [];
  return `${name.toUpperCase()} is missing: ${definition?.description ?? "see --help"}`;
}

function nameOf(value: unknown): unknown {
  return typeof value === "object" && value !== null && "name" in value ? value.name : undefined;
}

const SENTENCES: readonly (readonly [RegExp, (groups: readonly string[], flags: Flags) => string])[] = [
  [
    /^Missing required flag (\S+)$/,
    ([name = ""], flags) => `${withValue(name, flags)} is missing: ${flags[name]?.description ?? ""}`,
  ],
  [/^Flag --(\S+) expects one of these values: (.*)$/, ([name, values = ""]) => `--${name} needs a value: ${values}`],
  [/^Flag --(\S+) expects a value$/, ([name = ""], flags) => `--${name} needs a value: ${withValue(name, flags)}`],
  [/^Flag --(\S+) can only be specified once$/, ([name]) => `--${name} is given more than once; give it once`],
  [
    /^Expected --([^\s=]+)=(.*) to be one of: (.*)$/s,
    ([name = "", value = "", values = ""], flags) => {
      const meant = suggest(value, values.split(", "));
      const hint = meant === undefined ? "" : `; did you mean ${meant}?`;
      return `${origin(name, value, flags)} cannot be ${JSON.stringify(value)}; it must be ${values}${hint}`;
    },
  ],
  [
    // An argument.
    /^Expected (.*) to be one of: (.*)$/s,
    ([value = "", values = ""]) => {
      const meant = suggest(value, values.split(", "));
      const hint = meant === undefined ? "" : `; did you mean ${meant}?`;
      return `there is no ${JSON.stringify(value)} here; it must be ${values}${hint}`;
    },
  ],
  [
    /^Parsing --(\S+) Expected an integer(.*?) but received: (.*)$/s,
    ([name = "", bound = "", value = ""], flags) =>
      `${origin(name, value, flags)} cannot be ${JSON.stringify(value)}; it must be a whole number${bound.replace(" greater than or equal to", " of at least").replace(" less than or equal to", " of at most")}`,
  ],
  [
    /^--([^\s=]+)=.* cannot also be provided when using --(\S+)$/,
    ([one, other]) => `--${other} and --${one} exclude each other; give one of them`,
  ],
  [
    /^All of the following must be provided when using --(\S+): (.*)$/,
    ([name, others = ""]) => `--${name} has no effect without ${others}; give both`,
  ],
];

function rephrase(line: string, flags: Flags): string {
  for (const [pattern, sentence] of SENTENCES) {
    const match = pattern.exec(line);
    if (match !== null) return sentence(match.slice(1), flags);
  }
  return line;
}

/** Returns `--format`, or the variable that the value came from. */
function origin(name: string, value: string, flags: Flags): string {
  const variable = flags[name]?.env;
  const isFromVariable =
    variable !== undefined &&
    process.env[variable] === value &&
    !process.argv.some((word) => word.startsWith(`--${name}`));
  return isFromVariable ? `${variable} (--${name})` : `--${name}`;
}

function withValue(name: string, flags: Flags): string {
  const flag = flags[name];
  if (flag?.type !== "option") return `--${name}`;
  return `--${name} ${flag.helpValue?.toString() ?? flag.options?.join("|") ?? "VALUE"}`;
}

function usageLine({ id, args }: Called, flags: Flags): string {
  const name = `ztap ${id.replaceAll(":", " ")}`;
  const taken = Object.entries(args).map(([arg, { required }]) =>
    required === true ? arg.toUpperCase() : `[${arg.toUpperCase()}]`,
  );
  const needed = Object.entries(flags).flatMap(([flag, { required }]) =>
    required === true ? [withValue(flag, flags)] : [],
  );
  return `usage: ${[name, ...taken, ...needed].join(" ")}; all flags: \`${name} --help\``;
}
