/**
 * The settings on a command line that is not finished, for its completion. It is read as text: of a shell's quotes, only
 * a pair around a whole word is taken away, and nothing is expanded but a `~/` at the beginning.
 */

/** The flags that select the store and the namespace; others do not change what a completion asks for. */
const FLAGS: ReadonlyMap<string, "store" | "config" | "namespace"> = new Map([
  ["--store", "store"],
  ["--config", "config"],
  ["--namespace", "namespace"],
  ["-n", "namespace"],
]);

export type TypedFlags = Partial<Record<"store" | "config" | "namespace", string>>;

/** @param words as they were typed; a shell may give `--store=x` as three words */
export function readTypedFlags(words: readonly string[], home: string | undefined): TypedFlags {
  const found: TypedFlags = {};
  const rest = words.flatMap((word) => {
    const [, flag, value] = /^(--[a-z-]+)=(.+)$/s.exec(word) ?? [];
    return flag === undefined || value === undefined ? [word] : [flag, value];
  });
  const parts = rest.filter((word) => word !== "=");
  for (const [index, word] of parts.entries()) {
    const name = FLAGS.get(word);
    const value = parts[index + 1];
    if (name !== undefined && value !== undefined) found[name] = unquote(value, home);
  }
  return found;
}

function unquote(word: string, home: string | undefined): string {
  const [, , inner = word] = /^(["'])(.*)\1$/s.exec(word) ?? [];
  return home !== undefined && inner === word && word.startsWith("~/") ? `${home}${word.slice(1)}` : inner;
}
