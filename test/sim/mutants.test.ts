/** The simulation can fail: each part that is broken on purpose is found within a few histories. */
import t from "tap";
import { MUTANTS } from "./mutants.js";
import { runHistory } from "./run.js";

/** No more are tried. The rarest, a disk that keeps nothing, shows in about one of ninety. */
const HISTORIES = 500;

for (const [name, optionsOf] of Object.entries(MUTANTS)) {
  t.test(`the simulation finds ${name}`, async (t) => {
    t.setTimeout(600_000);
    for (let seed = 1; seed <= HISTORIES; seed += 1) {
      const { violation } = await runHistory(seed, optionsOf());
      if (violation !== null) return t.pass(`seed ${seed}: ${violation}`);
    }
    t.fail(`not in ${HISTORIES} histories`);
  });
}
