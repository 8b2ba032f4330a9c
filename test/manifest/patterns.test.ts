/** Every regular expression of the sources takes time in proportion to its text, whatever the text is. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import t from "tap";
import { within } from "../wait.js";
import { collectPatterns, patternsOf, type Pattern } from "./patterns.js";

/** An exponential pattern never ends. */
const DEADLINE_MS = 300_000;

const worker = new Worker(new URL("./patterns-worker.js", import.meta.url), { execArgv: [] });
t.teardown(() => worker.terminate());

async function growthOf(pattern: Pattern): Promise<string | null> {
  const answer = once(worker, "message");
  worker.postMessage(pattern);
  const what = `the end of ${pattern.place} /${pattern.source}/`;
  const [growth] = (await within(answer, { what, timeoutMs: DEADLINE_MS })) as [string | null];
  return growth;
}

const pattern = ({ source, flags }: RegExp): Pattern => ({ place: "here", source, flags });

await t.test("a pattern that is not linear is found", async (t) => {
  for (const bad of [/\s+$/, /^a*a*$/, /^(\d+)*$/, /^[\da-f:]*::[\da-f:]*$/, /begin .*end/i, /^\s*key\s*$/m])
    t.not(await growthOf(pattern(bad)), null, String(bad));
});

await t.test("a pattern that is linear is not", async (t) => {
  for (const good of [/(?<!\s)\s+$/, /^[a-z]+\d*$/, /^(?=.{1,253}$)a+b*$/, /^(\d+,)*$/, /"[^"]*"/g, /a{0,20}b/, /\s+/g])
    t.equal(await growthOf(pattern(good)), null, String(good));
});

await t.test("patterns are found in whatever form they are written", async (t) => {
  const text = "const a = /a[/]b/gu; const b = new RegExp('c', 'i'); RegExp(`^${a}d`).test(b);";
  t.same(
    patternsOf("x.ts", text).map(({ source, flags }) => `${source} ${flags}`),
    ["a[/]b gu", "c i", "^ad "],
  );
  t.throws(() => patternsOf("x.ts", "new RegExp(a)"), /is made of something else/);
});

await t.test("every pattern of the sources is linear", async (t) => {
  const patterns = collectPatterns();
  t.ok(patterns.length > 150, `${patterns.length} patterns are found`);
  for (const one of patterns) {
    const growth = await growthOf(one);
    if (growth !== null) t.fail(`${one.place} /${one.source}/${one.flags} ${growth}`);
  }
});
