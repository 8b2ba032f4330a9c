/** What was typed and is not understood → what was most likely meant, and where the choices are listed. */
import type { Command } from "@oclif/core";
import { suggest } from "../manifest/suggest.js";

/** oclif's message, with commands as they are typed: it joins topic and command with a colon. */
export function describeUsage(message: string, commands: readonly string[]): string {
  return message
    .replace(/^command (\S+) not found$/, (_, id: string) => describeCommand(id.split(":"), commands))
    .replace(/\nSee more help with --help$/, "; see --help");
}

/** What follows a command that does not exist may be its arguments: the longest start that resembles a command counts. */
function describeCommand(words: readonly string[], commands: readonly string[]): string {
  const topics = new Set(commands.filter((id) => id.includes(":")).map((id) => id.split(":", 1).join("")));
  const starts = words.map((_, index) => words.slice(0, words.length - index).join(":"));
  const [first = ""] = words;
  const known = [...commands, ...topics];
  const meant = starts.map((start) => suggest(start, known)).find((id) => id !== undefined && id !== first);
  const hint =
    meant === undefined
      ? `\`ztap ${topics.has(first) ? `${first} ` : ""}--help\` lists those that there are`
      : `did you mean \`ztap ${meant.replaceAll(":", " ")}\`?`;
  return `there is no command ${words.join(" ")}; ${hint}`;
}

/** @param flags as they were typed, `--nope` or `-x` */
export function describeFlags(flags: readonly string[], command: Pick<typeof Command, "flags" | "baseFlags">): string {
  const names = Object.keys({ ...command.baseFlags, ...command.flags });
  return flags
    .map((flag) => {
      const meant = suggest(flag.replace(/^-+/, ""), names);
      return `there is no flag ${flag}; ${meant === undefined ? "--help lists those that there are" : `did you mean --${meant}?`}`;
    })
    .join("\n");
}
