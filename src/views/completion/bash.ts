/** The completion script of bash. Nothing that the store says is ever expanded or evaluated. */
import { groupAlike, nextWords, quote, spellings, type Completable, type Completed } from "./model.js";

const HEAD = `# Completion of bash for ztap. Printed by \`ztap completion bash\`; do not edit.

# Adds the words of $1 that begin with what is typed.
_ztap_words() {
  local IFS=$' \\t\\n' word
  for word in $1; do
    if [[ $word == "$cur"* ]]; then COMPREPLY+=("$word"); fi
  done
}

# Adds the names that the store has. They are read as text and quoted. The program is the installed one, whatever path is typed:
# a Tab must not run a file of the current folder.
_ztap_names() {
  local name quoted program
  program=$(type -P ztap)
  [[ $program == /* ]] || return 0
  while IFS= read -r name; do
    if [[ -n $name && $name == "$cur"* ]]; then
      printf -v quoted '%q' "$name"
      COMPREPLY+=("$quoted")
    fi
  done < <("$program" complete "$1" -- "\${COMP_WORDS[@]:1:COMP_CWORD-1}" </dev/null 2>/dev/null)
}

# Adds what may stand at one place: words:A,B names:KIND file directory none.
_ztap_place() {
  local words
  case $1 in
    words:*)
      words=\${1#words:}
      _ztap_words "\${words//,/ }"
      ;;
    names:*) _ztap_names "\${1#names:}" ;;
    file) compopt -o default 2>/dev/null ;;
    directory) compopt -o dirnames 2>/dev/null ;;
  esac
}
`;

const MAIN = `
_ztap() {
  local IFS=$' \\t\\n'
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD - 1]}
  local command="" offered="" next="" flags="" values="" args="" pair place
  local -i at=1 count=0
  COMPREPLY=()
  # bash splits --flag=value into three words.
  if [[ $cur == "=" ]]; then
    cur=""
  elif [[ $prev == "=" ]]; then
    prev=\${COMP_WORDS[COMP_CWORD - 2]}
  fi
  _ztap_load ""
  while ((at < COMP_CWORD)) && [[ " $next " == *" \${COMP_WORDS[at]} "* ]]; do
    command+="\${command:+ }\${COMP_WORDS[at]}"
    _ztap_load "$command"
    at+=1
  done
  if ((at < COMP_CWORD)); then
    for pair in $values; do
      if [[ $prev == "\${pair%%=*}" ]]; then
        _ztap_place "\${pair#*=}"
        return
      fi
    done
  fi
  if [[ $cur == -* ]]; then
    _ztap_words "$flags"
    return
  fi
  if ((at == COMP_CWORD)); then _ztap_words "$offered"; fi
  # The number of arguments before this one.
  while ((at < COMP_CWORD)); do
    if [[ \${COMP_WORDS[at]} != -* ]]; then
      count+=1
    elif [[ \${COMP_WORDS[at + 1]} == "=" ]]; then
      at+=2
    elif [[ " $values" == *" \${COMP_WORDS[at]}="* ]]; then
      at+=1
    fi
    at+=1
  done
  for place in $args; do
    if ((count == 0)) || [[ $place == *+ ]]; then
      _ztap_place "\${place%+}"
      return
    fi
    count+=-1
  done
}

complete -F _ztap ztap
`;

export function renderBash(completable: Completable): string {
  const following = nextWords(completable);
  const starts = [...following].map(
    ([start, { offered, all }]) =>
      `    ${quote(start)}) offered=${quote(offered.map(({ word }) => word).join(" "))} next=${quote(all.join(" "))} ;;`,
  );
  const commands = groupAlike(completable.commands).flatMap((alike) => {
    const [{ flags, args, isVariadic } = { flags: [], args: [], isVariadic: false }] = alike;
    const names = ["--help", "-h", ...flags.flatMap(spellings)];
    const values = flags.flatMap((flag) => {
      const { value } = flag;
      return value === null ? [] : spellings(flag).map((spelling) => `${spelling}=${placeOf(value)}`);
    });
    const places = args.map((arg, index) => `${placeOf(arg)}${isVariadic && index === args.length - 1 ? "+" : ""}`);
    return [
      `    ${alike.map(({ name }) => quote(name)).join(" | ")})`,
      `      flags=${quote(names.join(" "))}`,
      `      values=${quote(values.join(" "))}`,
      `      args=${quote(places.join(" "))}`,
      "      ;;",
    ];
  });
  return [
    HEAD,
    "# Sets what may follow the beginning of a command: offered and next, and of a command flags, values and args.",
    "_ztap_load() {",
    '  offered="" next="" flags="--help -h" values="" args=""',
    "  case $1 in",
    ...starts,
    "  esac",
    "  case $1 in",
    ...commands,
    "  esac",
    "}",
    MAIN,
  ].join("\n");
}

function placeOf(completed: Completed): string {
  switch (completed.kind) {
    case "words":
      return `words:${completed.words.join(",")}`;
    case "names":
      return `names:${completed.of}`;
    case "file":
    case "directory":
    case "none":
      return completed.kind;
  }
}
