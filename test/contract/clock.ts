/** What every Clock guarantees, the manual one of the tests included. */
import t from "tap";
import type { Clock } from "../../src/interfaces/system.js";

/** @param pass lets at least so many milliseconds pass on the clock */
export function clockContract(name: string, clock: Clock, pass: (ms: number) => Promise<void>): void {
  void t.test(`clock: ${name}`, async (t) => {
    await t.test("the monotonic clock never goes back and moves with time", async (t) => {
      const before = clock.monotonic();
      t.ok(clock.monotonic() >= before);
      await pass(5);
      t.ok(clock.monotonic() > before);
    });

    await t.test("now is the wall clock in milliseconds", async (t) => {
      t.ok(clock.now() > Date.UTC(2020, 0, 1), "and not in seconds");
      t.ok(clock.now() < Date.UTC(2100, 0, 1), "nor in microseconds");
    });

    await t.test("sleep ends after its time", async (t) => {
      const before = clock.monotonic();
      const asleep = clock.sleep(5);
      await pass(6);
      await asleep;
      t.ok(clock.monotonic() - before >= 4);
    });

    await t.test("sleep ends at once when its signal aborts, before or during it, and does not reject", async (t) => {
      const aborted = AbortSignal.abort();
      await clock.sleep(3_600_000, aborted);
      const controller = new AbortController();
      const asleep = clock.sleep(3_600_000, controller.signal);
      controller.abort();
      await asleep;
      t.pass("both ended");
    });

    await t.test("no time at all is no wait", async () => clock.sleep(0));
  });
}
