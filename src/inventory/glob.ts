/**
 * Patterns of names: `*` stands for any characters, `?` for one; neither matches a slash. Everything else stands for
 * itself.
 */

/** Returns whether a pattern can match more than one text. */
export function hasWildcard(pattern: string): boolean {
  return /[*?]/.test(pattern);
}

/** Returns whether a text matches a pattern as a whole. The work is bounded by the product of the two lengths. */
export function matchesGlob(pattern: string, text: string): boolean {
  const [patterns, texts] = [pattern.split("/"), text.split("/")];
  return patterns.length === texts.length && patterns.every((part, index) => matchesPart(part, texts[index] ?? ""));
}

/** A mismatch after a `*` moves only the last one: what matches before it need not be tried again. */
function matchesPart(pattern: string, text: string): boolean {
  let [at, inText] = [0, 0];
  let star = -1;
  let behindStar = 0;
  while (inText < text.length) {
    const one = pattern[at];
    if (one === "*") {
      star = at;
      at += 1;
      behindStar = inText;
    } else if (one !== undefined && (one === "?" || one === text[inText])) {
      at += 1;
      inText += 1;
    } else if (star >= 0) {
      at = star + 1;
      behindStar += 1;
      inText = behindStar;
    } else return false;
  }
  while (pattern[at] === "*") at += 1;
  return at === pattern.length;
}
