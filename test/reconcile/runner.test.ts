import t from "tap";
import { Notifier } from "../../src/interfaces/notifier.js";
import { runLoop } from "../../src/reconcile/loop.js";
import { silentLogger } from "../fakes/ambient.js";
import { ManualClock } from "../fakes/clock.js";
import { SeededRandom } from "../fakes/random.js";

const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

function setUp(run: (clock: ManualClock) => Promise<void>, intervalMs = 1_000, jitter = 0) {
  const clock = new ManualClock();
  const stop = new AbortController();
  const notifier = new Notifier();
  const random = new SeededRandom(1);
  const options = { name: "test", intervalMs, jitter, clock, random, logger: silentLogger, signal: stop.signal };
  return { clock, stop, notifier, ended: runLoop(options, notifier, () => run(clock)) };
}

t.test("runs at once, then at each interval, until it is stopped", async (t) => {
  let runs = 0;
  const { clock, stop, ended } = setUp(async () => void (runs += 1));
  await settle();
  t.equal(runs, 1);
  clock.advance(999);
  await settle();
  t.equal(runs, 1);
  clock.advance(1);
  await settle();
  t.equal(runs, 2);
  stop.abort();
  await ended;
  clock.advance(10_000);
  t.equal(runs, 2);
});

t.test("a loop that is notified without end leaves half of the time to others", async (t) => {
  let runs = 0;
  const { clock, stop, notifier, ended } = setUp(async (clock) => {
    runs += 1;
    clock.advance(30);
    await settle();
    notifier.notify();
  });
  await settle();
  await settle();
  t.equal(runs, 1);
  for (const [ms, count] of [
    [29, 1],
    [1, 2],
    [29, 2],
    [1, 3],
  ] as const) {
    clock.advance(ms);
    await settle();
    await settle();
    t.equal(runs, count);
  }
  stop.abort();
  await ended;
});

t.test("what the stop itself cut short is no failure", async (t) => {
  const warnings: string[] = [];
  const stop = new AbortController();
  const logger = { ...silentLogger, warn: (message: string) => void warnings.push(message) };
  const options = { name: "test", intervalMs: 1000, jitter: 0, clock: new ManualClock(), random: new SeededRandom(1) };
  await runLoop({ ...options, logger, signal: stop.signal }, new Notifier(), async () => {
    stop.abort();
    throw new Error("abort signal");
  });
  t.same(warnings, []);
});

t.test("several wake-ups count as one, and one that comes during a run is not lost", async (t) => {
  let runs = 0;
  let finish: () => void = () => undefined;
  const { stop, notifier, ended } = setUp(async () => {
    runs += 1;
    await new Promise<void>((resolve) => (finish = resolve));
  });
  await settle();
  notifier.notify();
  notifier.notify();
  notifier.notify();
  t.equal(runs, 1);
  finish();
  await settle();
  t.equal(runs, 2, "the wake-up during the run");
  finish();
  await settle();
  t.equal(runs, 2, "only one for all three");
  stop.abort();
  finish();
  await ended;
});

t.test("a failure is tried again sooner, with growing delays, and the interval is the bound", async (t) => {
  const at: number[] = [];
  const { clock, stop, ended } = setUp(async (own) => {
    at.push(own.monotonic());
    throw new Error("no");
  }, 5_000);
  await settle();
  for (let step = 0; step < 2_000; step += 1) {
    clock.advance(10);
    await settle();
  }
  stop.abort();
  await ended;
  const delays = at.slice(1).map((time, index) => time - (at[index] ?? 0));
  t.ok((delays[0] ?? 0) <= 210, `the first delays: ${delays.slice(0, 6).join()} ms`);
  t.ok((delays[3] ?? 0) > (delays[0] ?? 0), "growing");
  t.ok(Math.max(...delays) <= 5_010, "never slower than the interval");
});

t.test("the interval is spread at random, so that a hundred nodes do not come at once", async (t) => {
  const at: number[] = [];
  const { clock, stop, ended } = setUp(async (own) => void at.push(own.monotonic()), 1_000, 0.1);
  for (let step = 0; step < 3_000; step += 1) {
    clock.advance(10);
    await settle();
  }
  stop.abort();
  await ended;
  const delays = at.slice(1).map((time, index) => time - (at[index] ?? 0));
  t.ok(new Set(delays).size > 5);
  t.ok(delays.every((delay) => delay >= 900 && delay <= 1_110));
});
