/**
 * The shadow of a coming ruleset: what the programs count agrees with the reference for both rulesets, it decides nothing, and it stands
 * and ends with real cgroups, connections and agents. `ZTAP_SEED=<seed>` plays the random part again.
 */
import t from "tap";
import { SeededRandom } from "../fakes/random.js";
import { Bench } from "./bench.js";
import { anyRuleset, WORKLOADS } from "./generate.js";
import { bordersOf, Dice } from "./pool.js";
import { isOwnPing, Reference } from "./reference.js";
import { whyNot } from "./sandbox.js";
import { Traffic } from "./traffic.js";
import { volume } from "../volume.js";

const STEPS = 200;
/** More than any idle time. */
const PAUSE = 4_000;

const reason = whyNot();
if (reason !== null) t.plan(0, `SKIP kernel tests: ${reason}`);
else {
  const seed = Number(process.env["ZTAP_SEED"] ?? 1 + Math.floor(Math.random() * 0x7ffffffe));
  t.comment(`seed ${seed}`);

  await t.test("the counts are those of the reference for both rulesets, and what is in force decides", async (t) => {
    const bench = new Bench(t);
    const dice = new Dice(new SeededRandom(seed));
    const seen = { judged: 0, newDenials: 0, newAllows: 0 };
    let epoch = 1;
    for (let round = 0; round < volume(60, 5_000, 5); round++) {
      const [inForce, coming] = [anyRuleset(dice), anyRuleset(dice)];
      t.same(inForce.subjects.length, WORKLOADS.length);
      const traffic = new Traffic(dice, bordersOf(dice.chance(50) ? inForce : coming), 1);
      const steps = Array.from({ length: STEPS }, () => traffic.next());
      await bench.load(inForce);
      await bench.loadShadow(coming);
      const decided = bench.decide(steps, epoch);
      epoch = (epoch + (steps.at(-1)?.now ?? 0) + PAUSE) >>> 0;

      const [reference, other] = [new Reference(), new Reference()];
      reference.load(inForce);
      other.load(coming);
      const counts = new Map<string, number>();
      const totals = { judged: 0, newDenials: 0, newAllows: 0 };
      for (const [at, step] of steps.entries()) {
        const expected = reference.decide(step);
        if (expected.verdict !== decided[at]?.verdict || expected.rule !== decided[at].rule)
          return t.fail(`the shadow changed a verdict: ZTAP_SEED=${seed}`, { step, expected, found: decided[at] });
        if (!reference.hasBegun) continue;
        totals.judged += 1;
        const would = other.begin(step);
        const passes = expected.verdict !== "denied";
        if (passes === (would.verdict !== "denied" || (passes && isOwnPing(step)))) continue;
        totals[passes ? "newDenials" : "newAllows"] += 1;
        const effect = passes ? "denied" : "allowed";
        const [rule, comingRule] = [expected, would].map((one) => (one.rule === "identity" ? null : one.rule) ?? undefined);
        const key = `${step.workload} ${step.direction} ${effect} ${rule} ${comingRule}`;
        counts.set(key, (counts.get(key) ?? 0) + 1);
      }
      const differences = [...counts].map(([key, count]) => `${key} ${count}`).sort();
      const found = bench.readShadow();
      if (!t.strictSame(found, { sinceMs: 0, ...totals, differences }, `round ${round}`))
        return t.fail(`play it again: ZTAP_SEED=${seed} sh bin/node test/run.mjs kernel/shadow`);
      for (const name of ["judged", "newDenials", "newAllows"] as const) seen[name] += totals[name];
    }
    t.ok(seen.newDenials > 0 && seen.newAllows > 0, "differences of both kinds", { seen });
    t.pass(JSON.stringify(seen));
  });
}
