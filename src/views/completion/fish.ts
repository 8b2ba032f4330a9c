/** The completion script of fish. Nothing that the store says is ever expanded or evaluated. */
import {
  groupAlike,
  nextWords,
  spellings,
  type Completable,
  type CompletableCommand,
  type Completed,
} from "./model.js";

const HEAD = `# Completion of fish for ztap. Printed by \`ztap completion fish\`; do not edit.

# Prints the names that the store has; fish quotes them. The program is the installed one, whatever path is typed: a Tab must not
# run a file of the current folder.
function __ztap_names
    set -l typed (commandline -opc)
    set -l program (command -s ztap)
    string match -q -- '/*' $program; or return 0
    set -e typed[1]
    $program complete $argv[1] -- $typed 2>/dev/null </dev/null
end

# Succeeds at the command $argv[1]; with $argv[2], only at its argument of that number, or with $argv[3] after it.
function __ztap_at
    set -l typed (commandline -opc)
    set -e typed[1]
    set -l command ''
    while set -q typed[1]; and contains -- (string trim -- "$command $typed[1]") $__ztap_starts
        set command (string trim -- "$command $typed[1]")
        set -e typed[1]
    end
    test "$command" = "$argv[1]"; or return 1
    set -q argv[2]; or return 0
    set -l count 0
    set -l is_value no
    for word in $typed
        if test $is_value = yes
            set is_value no
        else if string match -q -- '-*' $word
            contains -- $word $__ztap_valued; and set is_value yes
        else
            set count (math $count + 1)
        end
    end
    test $is_value = no; or return 1
    test $count -eq $argv[2]; and return 0
    set -q argv[3]; and test $count -gt $argv[2]
end

complete -c ztap -e
complete -c ztap -f
`;

export function renderFish(completable: Completable): string {
  const following = nextWords(completable);
  const starts = new Set(
    [...following].flatMap(([start, { all }]) => all.map((word) => (start === "" ? word : `${start} ${word}`))),
  );
  const valued = new Set(
    completable.commands.flatMap(({ flags }) =>
      flags.filter(({ value }) => value !== null).flatMap((flag) => spellings(flag)),
    ),
  );
  return [
    HEAD,
    `set -g __ztap_starts ${[...starts].sort().map(quoteFish).join(" ")}`,
    `set -g __ztap_valued ${[...valued].sort().map(quoteFish).join(" ")}`,
    "",
    ...[...following].flatMap(([start, { offered }]) =>
      offered.map(
        ({ word, summary }) => `complete -c ztap -n ${at(start)} -x -a ${quoteFish(word)} -d ${quoteFish(summary)}`,
      ),
    ),
    ...[...following.keys()].map((start) => `complete -c ztap -n ${at(start)} -s h -l help -d help`),
    ...groupAlike(completable.commands).flatMap((alike) => alike.flatMap(commandLines)),
    "",
  ].join("\n");
}

function commandLines({ name, flags, args, isVariadic }: CompletableCommand): readonly string[] {
  const condition = at(name);
  return [
    ...flags.map(({ name: flag, char, value, summary }) => {
      const short = char === null ? "" : ` -s ${char}`;
      return `complete -c ztap -n ${condition}${short} -l ${flag}${value === null ? "" : takes(value, true)} -d ${quoteFish(summary)}`;
    }),
    `complete -c ztap -n ${condition} -s h -l help -d help`,
    ...args.flatMap((arg, index) => {
      const isRest = isVariadic && index === args.length - 1;
      return arg.kind === "none" ? [] : [`complete -c ztap -n ${at(name, index, isRest)}${takes(arg, false)}`];
    }),
  ];
}

function at(command: string, index?: number, isRest = false): string {
  const words = [`__ztap_at ${quoteFish(command)}`, ...(index === undefined ? [] : [String(index)])];
  return quoteFish([...words, ...(isRest ? ["more"] : [])].join(" "));
}

function takes(completed: Completed, isFlag: boolean): string {
  switch (completed.kind) {
    case "words":
      return ` -x -a ${quoteFish(completed.words.join(" "))}`;
    case "names":
      return ` -x -a '(__ztap_names ${completed.of})'`;
    case "file":
      return isFlag ? " -r -F" : " -F";
    case "directory":
      return ` -x -a '(__fish_complete_directories)'`;
    case "none":
      return " -x";
  }
}

function quoteFish(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
