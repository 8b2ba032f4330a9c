/**
 * Five hundred histories of ten agents, three of which may lead. `ZTAP_SIM_SEED=SEED npm test -- sim/` replays one and prints its
 * trace.
 */
import t from "tap";
import { describeFailure, HISTORIES, runHistory } from "./run.js";

/** What the histories are for: each has to come about in some of them, or the simulation has grown blind to it. */
const OCCURRENCES: Readonly<Record<string, RegExp>> = {
  "a commit refused, since its leader leads no more": /refused: fenced/,
  "a commit refused, since head moved": /refused: stale-head/,
  "the answer to a commit lost": /no answer to commit/,
  "a third term": /leads, term 3/,
  "a commit that does not validate": /was rejected/,
  "a commit that is held": /more than source\.maxDeletePercent/,
  "a branch that goes back": /history was rewritten/,
  "history pruned": /pruned the history/,
  "a restart while the store is away": /going on without the store/,
  "an agent that died without a word": /succeeding an agent that is gone/,
  "a last good state restored": /from the copy on this node's disk/,
  "a last good state that could not be kept": /could not be written/,
  "damage healed": /healed \d+ difference/,
  "an attachment refused": /Attaching to .* failed/,
};

const asked = Number(process.env["ZTAP_SIM_SEED"]);

if (Number.isSafeInteger(asked) && asked > 0) {
  t.test(`history ${asked}`, async (t) => {
    t.setTimeout(0);
    const outcome = await runHistory(asked);
    for (const line of outcome.trace) t.comment(line);
    t.equal(outcome.violation, null, outcome.violation === null ? "no violation" : outcome.trace.join("\n"));
  });
} else {
  t.test("every history keeps the invariants, and comes to rest once its faults end", async (t) => {
    t.setTimeout(0);
    const counts = new Map<string, number>();
    let failed = 0;
    for (let seed = 1; seed <= HISTORIES && failed < 3; seed += 1) {
      const outcome = await runHistory(seed);
      if (outcome.violation !== null) {
        failed += 1;
        t.fail(describeFailure(outcome));
      }
      for (const [what, pattern] of Object.entries(OCCURRENCES))
        if (outcome.trace.some((line) => pattern.test(line))) counts.set(what, (counts.get(what) ?? 0) + 1);
    }
    for (const what of Object.keys(OCCURRENCES))
      t.ok((counts.get(what) ?? 0) >= 5, `${what}: in ${counts.get(what) ?? 0} histories`);
  });

  t.test("the same seed gives the same history, to the letter", async (t) => {
    for (const seed of [1, 31, 99]) {
      const first = await runHistory(seed);
      const second = await runHistory(seed);
      t.ok(first.trace.length > 100);
      t.strictSame(second.trace, first.trace, `seed ${seed}`);
    }
    t.strictNotSame((await runHistory(2)).trace, (await runHistory(1)).trace);
  });
}
