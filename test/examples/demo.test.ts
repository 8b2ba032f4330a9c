/** `npm run demo`: every line that it prints, but for times, hashes and ids. */
import t from "tap";
import { Ztap } from "../cli/ztap.js";
import { matchGolden } from "../golden.js";
import { whyNot } from "../kernel/sandbox.js";
import { normalize, startScript } from "./transcript.js";

t.test("npm run demo", { skip: whyNot() ?? false }, async (t) => {
  const demo = startScript(new Ztap(t), "demo");
  try {
    const { code, stdout, stderr } = await demo.ended;
    t.equal(code, 0, stdout + stderr);
    t.equal(stderr, "");
    matchGolden(t, "test/examples/golden/demo.txt", normalize(stdout));
  } finally {
    // It takes away what it made.
    if (!demo.isOver) await demo.stop();
  }
});
