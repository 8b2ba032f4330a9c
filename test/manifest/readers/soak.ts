/**
 * `npm run soak -- readers [COUNT] [SEED]`: the fuzzer of the YAML readers over as many texts, from a seed on. Ends with 1 at the
 * first text that breaks the law; that text belongs into corpus.json.
 */
import { randomInt } from "node:crypto";
import { compareAt } from "./compare.js";
import { Texts } from "./texts.js";

const [count = "600000", from = String(randomInt(2 ** 31))] = process.argv.slice(2);
const texts = new Texts();
const counts: Record<string, number> = {};
let slowest = { ms: 0, seed: 0 };
for (let at = 0; at < Number(count); at += 1) {
  const seed = Number(from) + at;
  const started = performance.now();
  const verdict = compareAt(seed, texts.at(seed));
  const ms = performance.now() - started;
  if (ms > slowest.ms) slowest = { ms, seed };
  counts[verdict] = (counts[verdict] ?? 0) + 1;
}
process.stdout.write(
  `${count} texts from seed ${from}: ${JSON.stringify(counts)}; the slowest took ${slowest.ms.toFixed(0)} ms (seed ${slowest.seed})\n`,
);
