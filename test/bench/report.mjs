/** Report: medians with their spread, a peer measured in turn in the same run, and what could not be measured and why. */

export const quantile = (values, q) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * q))];

export const median = (values) => quantile(values, 0.5);

/** Median, and the first and third quartile. */
export const spread = (values, digits = 1) =>
  `${median(values).toFixed(digits)} (${quantile(values, 0.25).toFixed(digits)}–${quantile(values, 0.75).toFixed(digits)})`;

export const ratioOf = (own, other) => (median(own) / median(other)).toFixed(2);

export const row = (...cells) => console.log(`| ${cells.join(" | ")} |`);

export function head(...cells) {
  console.log("");
  row(...cells);
  row(...cells.map(() => "---"));
}

export function skip(name, reason) {
  row(name, `skipped: ${reason}`, "—", "—");
}

export async function timed(work) {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

/**
 * Runs subject and peer in turn; prints medians in ms with their spread, and the ratio of the medians.
 * @param before what is waited for before each round and not measured
 */
export async function compare(name, rounds, subject, peerName, peer, before = () => undefined) {
  const own = [];
  const other = [];
  for (let round = 0; round < rounds; round += 1) {
    await before();
    own.push(await timed(subject));
    if (peer) other.push(await timed(peer));
  }
  row(name, spread(own), peer ? `${peerName}: ${spread(other)}` : "—", peer ? ratioOf(own, other) : "—");
}
