import t from "tap";
import { systemClock, systemRandom } from "../../src/adapters/system/clock.js";
import { createLogger } from "../../src/adapters/system/logger.js";
import { clockContract } from "../contract/clock.js";
import { ManualClock } from "../fakes/clock.js";
import { SeededRandom } from "../fakes/random.js";
import { pause } from "../wait.js";

clockContract("system", systemClock, (ms) => pause(ms));

const manual = new ManualClock();
clockContract("manual", manual, async (ms) => manual.advance(ms));

void t.test("the manual clock wakes due sleepers in order, and no others", async (t) => {
  const clock = new ManualClock(1000);
  const woken: string[] = [];
  const sleeps = [20, 10, 30].map((ms) => clock.sleep(ms).then(() => woken.push(String(ms))));
  t.equal(clock.asleep, 3);
  clock.advance(20);
  await Promise.all(sleeps.slice(0, 2));
  t.same(woken, ["10", "20"]);
  t.equal(clock.asleep, 1);
  clock.setWall(5);
  t.equal(clock.now(), 5);
  t.equal(clock.monotonic(), 20);
  clock.advance(10);
  await sleeps[2];
  t.equal(clock.asleep, 0);
});

void t.test("randomness: fractions below one, ids that do not repeat", async (t) => {
  for (const random of [systemRandom, new SeededRandom(7)]) {
    const fractions = Array.from({ length: 1000 }, () => random.fraction());
    t.ok(fractions.every((fraction) => fraction >= 0 && fraction < 1));
    t.ok(new Set(fractions).size > 990);
    const ids = Array.from({ length: 1000 }, () => random.id());
    t.ok(ids.every((id) => /^[0-9a-f]{32}$/.test(id)));
    t.equal(new Set(ids).size, 1000);
  }
  const [one, two] = [new SeededRandom(42), new SeededRandom(42)];
  t.same([one.fraction(), one.id()], [two.fraction(), two.id()], "a seed gives the same again");
});

void t.test("the log writes events of its level and above, as one JSON line each or as text", async (t) => {
  const lines: string[] = [];
  const sink = { write: (line: string) => void lines.push(line) };
  const log = createLogger("info", false, sink);
  log.debug("not this");
  log.info("started", { node: "n1" });
  log.error("failed", { code: "store-damaged", revision: 7 });
  const [first, second] = lines.map((line): unknown => JSON.parse(line));
  t.equal(lines.length, 2);
  t.match(first, { level: "info", msg: "started", node: "n1", time: /^\d{4}-.*Z$/ });
  t.match(second, { level: "error", msg: "failed", code: "store-damaged", revision: 7 });
  lines.length = 0;
  createLogger("debug", true, sink).warn("slow", { ms: 12, why: "disk", tags: ["a"] });
  t.match(lines.join(""), /^\d\d:\d\d:\d\d\.\d{3} warn  slow {2}ms=12 {2}why=disk {2}tags=\["a"\]\n$/);
  lines.length = 0;
  const cause = Object.assign(new Error("refused"), { code: "E1" });
  createLogger("info", false, sink).warn("not done", { error: new Error("no answer", { cause }) });
  t.match(JSON.parse(lines[0] ?? ""), { error: { message: "no answer", cause: { code: "E1", message: "refused" } } });
  lines.length = 0;
  for (const pretty of [false, true]) createLogger("info", pretty, sink).warn("\u009b2J\u202e", { file: "\u001b]0;x" });
  t.notMatch(lines.join(""), /[\u001b\u009b\u202e]/, "nothing that a terminal acts upon");
  t.match(JSON.parse(lines[0] ?? ""), { msg: "\u009b2J\u202e", file: "\u001b]0;x" });
  createLogger("silent", true, sink).error("nothing");
  t.equal(lines.length, 2);
});
