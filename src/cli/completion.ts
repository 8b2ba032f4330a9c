/** oclif's commands → what a shell can complete. */
import type { Command, Config } from "@oclif/core";
import type { Completable, CompletableCommand, CompletableFlag, Completed } from "../views/completion/model.js";

type Loadable = Command.Loadable;
type Arg = Loadable["args"][string];
type Flag = Loadable["flags"][string];

const NAMES = {
  policy: { kind: "names", of: "policies" },
  workload: { kind: "names", of: "workloads" },
  node: { kind: "names", of: "nodes" },
  namespace: { kind: "names", of: "namespaces" },
} as const;

/** Arguments by their names; `name` is that of the noun of its command. */
const ARGS: Readonly<Record<string, Completed>> = {
  ...NAMES,
  id: NAMES.node,
  source: { kind: "directory" },
  dir: { kind: "directory" },
  path: { kind: "file" },
  file: { kind: "file" },
};

/** Flags by what their help calls the value. */
const VALUES: Readonly<Record<string, Completed>> = {
  FILE: { kind: "file" },
  DIR: { kind: "directory" },
  A: NAMES.workload,
  "B:PORT/PROTO": NAMES.workload,
};

const NONE: Completed = { kind: "none" };

export function readCompletable(config: Config): Completable {
  const topics = new Map(config.topics.map(({ name, description }) => [name, description ?? ""]));
  const commands = config.commands.map(toCommand).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return { commands, topics };
}

function toCommand(command: Loadable): CompletableCommand {
  const { id, summary, hidden, flags, args, strict } = command;
  return {
    name: id.replaceAll(":", " "),
    summary: firstSentence(summary),
    isHidden: hidden,
    flags: Object.values(flags)
      .filter((flag) => flag.hidden !== true)
      .map(toFlag)
      .toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    args: Object.values(args).map((arg) => toPlace(arg, nounOf(command))),
    isVariadic: strict === false,
  };
}

function toFlag(flag: Flag): CompletableFlag {
  const { name, char, summary, description } = flag;
  return { name, char: char ?? null, summary: firstSentence(summary ?? description), value: valueOf(flag) };
}

function valueOf(flag: Flag): Completed | null {
  if (flag.type === "boolean") return null;
  if (flag.options !== undefined) return { kind: "words", words: flag.options };
  const known: Readonly<Record<string, Completed>> = NAMES;
  return known[flag.name] ?? VALUES[String(flag.helpValue)] ?? NONE;
}

function toPlace({ name, options }: Arg, noun: string): Completed {
  if (options !== undefined) return { kind: "words", words: options };
  return ARGS[name === "name" ? noun : name] ?? NONE;
}

/** An alias may begin with another word: the noun is that of the command itself. */
function nounOf({ id, aliases, hiddenAliases, relativePath }: Loadable): string {
  const isAlias = [...aliases, ...hiddenAliases].includes(id);
  return (isAlias ? relativePath?.at(-2) : id.split(":")[0]) ?? "";
}

/** Help of one line, without the full stop. */
function firstSentence(text = ""): string {
  const [line = ""] = text.split("\n", 1);
  const [sentence = ""] = line.split(/[.:;] /, 1);
  return sentence.replace(/[.:;]$/, "").split(" (default")[0] ?? "";
}
