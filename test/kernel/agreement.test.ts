/**
 * The kernel against the evaluator: random rulesets and random packets through the loaded programs
 * and through the reference. `ZTAP_SEED=<seed>:<case>` plays one case again; ZTAP_PACKETS asks for more.
 */
import t from "tap";
import { SeededRandom } from "../fakes/random.js";
import { Bench } from "./bench.js";
import { anyRuleset } from "./generate.js";
import { bordersOf, Dice } from "./pool.js";
import { whyNot } from "./sandbox.js";
import { describe, Stage, type Act } from "./script.js";
import { Traffic } from "./traffic.js";
import { volume } from "../volume.js";

const ACTS = 3;
const STEPS = 200;
/** As `Stage.play` counts them. */
const KINDS = ["allowed", "allowed by a rule", "audited", "denied", "denied by a rule", "denied by identity"];

function anyScript(seed: number, index: number): readonly Act[] {
  const dice = new Dice(new SeededRandom(Math.imul(seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b)));
  let traffic: Traffic | null = null;
  return Array.from({ length: ACTS }, () => {
    const ruleset = anyRuleset(dice);
    const borders = bordersOf(ruleset);
    if (traffic === null) traffic = new Traffic(dice, borders, 1);
    else traffic.turnTo(borders);
    const source = traffic;
    return { ruleset, steps: Array.from({ length: STEPS }, () => source.next()) };
  });
}

const reason = whyNot();
if (reason !== null) t.plan(0, `SKIP kernel tests: ${reason}`);
else {
  const [, asked, only] = /^(\d+)(?::(\d+))?$/.exec(process.env["ZTAP_SEED"] ?? "") ?? [];
  const seed = asked === undefined ? 1 + Math.floor(Math.random() * 0x7ffffffe) : Number(asked);
  const packets = Number(process.env["ZTAP_PACKETS"] ?? volume(50_000, 10_000_000, 3000));
  const bench = new Bench(t);
  const stage = new Stage(bench);
  t.setTimeout(24 * 3600 * 1000);
  t.comment(`seed ${seed}`);

  await t.test("the programs and the reference agree on every packet, and on the rule that decides", async (t) => {
    const first = only === undefined ? 0 : Number(only);
    const last = only === undefined ? Math.ceil(packets / (ACTS * STEPS)) : first + 1;
    const verdicts = new Map<string, number>();
    const isCovered = (): boolean => only !== undefined || KINDS.every((kind) => verdicts.has(kind));
    let index = first;
    for (; index < last || (!isCovered() && index < 10 * last); index++) {
      const acts = anyScript(seed, index);
      const found = await stage.play(acts, verdicts);
      if (found === null) continue;
      const small = await stage.shrink(acts);
      const again = (await stage.play(small)) ?? found;
      const replay = `ZTAP_SEED=${seed}:${index} sh bin/node test/run.mjs kernel/agreement`;
      return t.fail(`play it again: ${replay}`, { found: describe(small, again) });
    }
    for (const verdict of ["allowed", "denied", "audited"] as const) {
      const decided = [...verdicts].filter(([name]) => name.startsWith(verdict)).reduce((sum, [, one]) => sum + one, 0);
      const counted = bench.counted().packets.filter((one) => one.verdict === verdict);
      const total = counted.reduce((sum, { packets: one }) => sum + one, 0n);
      t.equal(total, BigInt(decided), `every packet that was ${verdict} is counted once`);
    }
    t.ok(isCovered(), "packets of every verdict");
    const { eligible: worth, delivered, limited, lost } = bench.events.statistics();
    t.equal(worth, delivered + limited + lost, "the books of the events balance");
    const counts = [...verdicts].sort().map(([verdict, count]) => `${count} ${verdict}`);
    t.pass(`${(index - first) * ACTS * STEPS} packets, seed ${seed}: ${counts.join(", ")}`);
  });
}
