/** The completion script of zsh. Nothing that the store says is ever expanded or evaluated. */
import { groupAlike, nextWords, quote, spellings, type Completable, type Completed, type Following } from "./model.js";
import type { CompletableCommand, CompletableFlag } from "./model.js";

const HEAD = `#compdef ztap
# Completion of zsh for ztap. Printed by \`ztap completion zsh\`; do not edit.

# Adds the names that the store has. They are read as text; compadd quotes them. _arguments puts options of compadd first.
# The program is the installed one, whatever path is typed: a Tab must not run a file of the current folder.
_ztap_names() {
  local -a names
  local program="$(whence -p ztap)"
  [[ $program == /* ]] || return 0
  names=("\${(@f)$("$program" complete "\${@[-1]}" -- "\${(@Q)_ztap_typed}" </dev/null 2>/dev/null)}")
  names=("\${(@)names:#}")
  compadd "\${(@)@[1,-2]}" -a names
}
`;

const MAIN = `
_ztap() {
  local curcontext="$curcontext" command=""
  local -a _ztap_typed next offered
  _ztap_typed=("\${(@)words[2,CURRENT-1]}")
  integer at=2
  _ztap_load ""
  while ((at < CURRENT)) && ((\${next[(Ie)\${words[at]}]})); do
    command+="\${command:+ }\${words[at]}"
    _ztap_load "$command"
    at+=1
  done
  if ((at == CURRENT && $#offered)) && [[ $words[CURRENT] != -* ]]; then
    _describe -t commands 'command' offered
    return
  fi
  words=("$command" "\${(@)words[at,-1]}")
  ((CURRENT = CURRENT - at + 2))
  _ztap_arguments "$command"
}

if [[ $funcstack[1] == _ztap ]]; then _ztap "$@"; else compdef _ztap ztap; fi
`;

export function renderZsh(completable: Completable): string {
  return [
    HEAD,
    "# Sets what may follow the beginning of a command.",
    "_ztap_load() {",
    "  next=() offered=()",
    "  case $1 in",
    ...[...nextWords(completable)].flatMap(startLines),
    "  esac",
    "}",
    "",
    "_ztap_arguments() {",
    "  case $1 in",
    ...groupAlike(completable.commands).flatMap(commandLines),
    "    *) _arguments -S '(- *)'{-h,--help}'[help]' ;;",
    "  esac",
    "}",
    MAIN,
  ].join("\n");
}

function startLines([start, { offered, all }]: readonly [string, Following]): readonly string[] {
  const described = offered.map(({ word, summary }) => `        ${quote(`${word}:${summary.replaceAll(":", "\\:")}`)}`);
  return [
    `    ${quote(start)})`,
    `      next=(${all.map(quote).join(" ")})`,
    ...(described.length === 0 ? [] : ["      offered=(", ...described, "      )"]),
    "      ;;",
  ];
}

function commandLines(alike: readonly CompletableCommand[]): readonly string[] {
  const [{ flags, args, isVariadic } = { flags: [], args: [], isVariadic: false }] = alike;
  const places = args.map((arg, index) => {
    const isRest = isVariadic && index === args.length - 1;
    return quote(`${isRest ? "*" : String(index + 1)}:argument:${actionOf(arg)}`);
  });
  return [
    `    ${alike.map(({ name }) => quote(name)).join(" | ")})`,
    "      _arguments -S \\",
    ...[...flags.map(flagSpec), ...places].map((spec) => `        ${spec} \\`),
    "        '(- *)'{-h,--help}'[help]'",
    "      ;;",
  ];
}

function flagSpec(flag: CompletableFlag): string {
  const { name, char, value, summary } = flag;
  const text = `[${summary.replace(/[[\]\\:]/g, "\\$&")}]${value === null ? "" : `:value:${actionOf(value)}`}`;
  const ending = value === null ? "" : "=";
  const excluded = quote(`(${spellings(flag).join(" ")})`);
  const long = quote(`--${name}${ending}${text}`);
  if (char === null) return `${excluded}${long}`;
  return `${excluded}${long} ${excluded}${quote(`-${char}${value === null ? "" : "+"}${text}`)}`;
}

function actionOf(completed: Completed): string {
  switch (completed.kind) {
    case "words":
      return `(${completed.words.join(" ")})`;
    case "names":
      return `_ztap_names ${completed.of}`;
    case "file":
      return "_files";
    case "directory":
      return "_files -/";
    case "none":
      return " ";
  }
}
