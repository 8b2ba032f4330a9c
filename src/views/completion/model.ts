/** What a shell can complete: the commands, with their flags and arguments. The scripts of all shells are made from it. */

/** Names that the store knows; `ztap complete KIND` prints them. */
export const NAME_KINDS = ["policies", "workloads", "nodes", "namespaces"] as const;
export type NameKind = (typeof NAME_KINDS)[number];

/** What may stand at a place of the command line. */
export type Completed =
  | { readonly kind: "words"; readonly words: readonly string[] }
  | { readonly kind: "names"; readonly of: NameKind }
  | { readonly kind: "file" | "directory" | "none" };

export interface CompletableFlag {
  readonly name: string;
  readonly char: string | null;
  readonly summary: string;
  /** Null for a flag without a value. */
  readonly value: Completed | null;
}

export interface CompletableCommand {
  /** Its words as they are typed: `policy show`. */
  readonly name: string;
  readonly summary: string;
  /** It can be completed, but is not offered. */
  readonly isHidden: boolean;
  readonly flags: readonly CompletableFlag[];
  readonly args: readonly Completed[];
  /** Whether the last argument may be repeated. */
  readonly isVariadic: boolean;
}

export interface Completable {
  readonly commands: readonly CompletableCommand[];
  /** The summaries of the topics by their names. */
  readonly topics: ReadonlyMap<string, string>;
}

const NOTHING: ReadonlyMap<string, string> = new Map();

export interface NextWord {
  readonly word: string;
  readonly summary: string;
}

/** The words that may follow a beginning of a command. */
export interface Following {
  readonly offered: readonly NextWord[];
  /** With those of hidden commands. */
  readonly all: readonly string[];
}

/** Returns the words that may follow every beginning of a command, also the empty one. */
export function nextWords({ commands, topics }: Completable): ReadonlyMap<string, Following> {
  const offered = new Map<string, Map<string, string>>([["", new Map()]]);
  const all = new Map<string, Set<string>>();
  for (const { name, summary, isHidden } of commands) {
    const words = name.split(" ");
    for (const [index, word] of words.entries()) {
      const start = words.slice(0, index).join(" ");
      all.set(start, (all.get(start) ?? new Set<string>()).add(word));
      const isLast = index === words.length - 1;
      if (!isHidden)
        offered.set(
          start,
          (offered.get(start) ?? new Map<string, string>()).set(word, isLast ? summary : (topics.get(word) ?? "")),
        );
    }
  }
  const toWords = (words: ReadonlyMap<string, string>) =>
    [...words].sort().map(([word, summary]) => ({ word, summary }));
  return new Map(
    [...all].map(([start, words]) => [
      start,
      { offered: toWords(offered.get(start) ?? NOTHING), all: [...words].sort() },
    ]),
  );
}

/** Returns the spellings of a flag: `--output`, `-o`. */
export function spellings({ name, char }: CompletableFlag): readonly string[] {
  return [`--${name}`, ...(char === null ? [] : [`-${char}`])];
}

/** Groups commands with the same flags and arguments, such as a command and its aliases. */
export function groupAlike(commands: readonly CompletableCommand[]): readonly (readonly CompletableCommand[])[] {
  const alike = Map.groupBy(commands, ({ flags, args, isVariadic }) => JSON.stringify([flags, args, isVariadic]));
  return [...alike.values()];
}

/** Quotes a text for a POSIX shell. */
export function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
