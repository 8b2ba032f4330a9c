/**
 * "Did you mean": finds the candidate that a mistyped word most likely stands for.
 *
 * Our own few lines: ESLint brings a library for edit distance, but a run-time dependency for twelve lines that only
 * run on errors would cost more than it saves.
 */
export function suggest(word: string, candidates: readonly string[]): string | undefined {
  if (word.length > LONGEST) return undefined;
  const lower = word.toLowerCase();
  const ranked = candidates
    .map((candidate) => ({ candidate, distance: editDistance(lower, candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance || (a.candidate < b.candidate ? -1 : 1));
  const best = ranked[0];
  if (best !== undefined && best.distance <= Math.max(1, Math.floor(best.candidate.length / 3))) return best.candidate;
  // A shortened word (`selector` for `podSelector`) that occurs in exactly one candidate.
  const holding = word.length < 4 ? [] : candidates.filter((candidate) => candidate.toLowerCase().includes(lower));
  return holding.length === 1 ? holding[0] : undefined;
}

/** Returns Levenshtein's distance, with a swap of two neighbours as one edit, computed with three rows of the table. */
function editDistance(a: string, b: string): number {
  let above: readonly number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const substituted = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      const swapped = isSwap ? (above[j - 2] ?? 0) + 1 : Infinity;
      next.push(Math.min(substituted, swapped, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    above = row;
    row = next;
  }
  return row[b.length] ?? 0;
}

/** The longest word that is compared. No field, kind or node name is longer. */
const LONGEST = 64;
