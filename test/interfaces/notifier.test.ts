import t from "tap";
import { Notifier, type WaitLimit } from "../../src/interfaces/notifier.js";
import { ManualClock } from "../fakes/clock.js";

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** A wait, and what it returned so far. */
function waiting(notifier: Notifier, signal: AbortSignal, limit?: WaitLimit) {
  const state: { result: boolean | "waits" } = { result: "waits" };
  void notifier.wait(signal, limit).then((result) => (state.result = result));
  return async () => {
    await turn();
    return state.result;
  };
}

const never = () => new AbortController().signal;

t.test("a notification ends the wait", async (t) => {
  const notifier = new Notifier();
  const result = waiting(notifier, never());
  t.equal(await result(), "waits");
  notifier.notify();
  t.equal(await result(), true);
});

t.test("a notification without a waiter ends the next wait, and several count as one", async (t) => {
  const notifier = new Notifier();
  notifier.notify();
  notifier.notify();
  t.equal(await waiting(notifier, never())(), true);
  t.equal(await waiting(notifier, never())(), "waits");
});

t.test("several notifications during a wait count as one", async (t) => {
  const notifier = new Notifier();
  const result = waiting(notifier, never());
  notifier.notify();
  notifier.notify();
  t.equal(await result(), true);
  t.equal(await waiting(notifier, never())(), "waits");
});

t.test("the limit ends the wait, by the clock that it names", async (t) => {
  const clock = new ManualClock();
  const result = waiting(new Notifier(), never(), { ms: 100, clock });
  clock.advance(99);
  t.equal(await result(), "waits");
  clock.advance(1);
  t.equal(await result(), false);
});

t.test("a notification ends a wait with a limit, and no timer stays", async (t) => {
  const clock = new ManualClock();
  const notifier = new Notifier();
  const result = waiting(notifier, never(), { ms: 100, clock });
  t.equal(clock.asleep, 1);
  notifier.notify();
  t.equal(await result(), true);
  t.equal(clock.asleep, 0);
});

t.test("the signal ends every wait, before and during it", async (t) => {
  const clock = new ManualClock();
  for (const limit of [undefined, { ms: 100, clock }]) {
    const stop = new AbortController();
    const during = waiting(new Notifier(), stop.signal, limit);
    t.equal(await during(), "waits");
    stop.abort();
    t.equal(await during(), false);
    t.equal(await waiting(new Notifier(), stop.signal, limit)(), false);
    t.equal(clock.asleep, 0);
  }
});

t.test("after the abort, a notification does not count", async (t) => {
  const stop = new AbortController();
  const notifier = new Notifier();
  notifier.notify();
  stop.abort();
  t.equal(await waiting(notifier, stop.signal)(), false);
});

t.test("a wait leaves no listener on the signal", async (t) => {
  const { signal } = new AbortController();
  let listeners = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => ((listeners += 1), add(...args));
  signal.removeEventListener = (...args: Parameters<typeof remove>) => ((listeners -= 1), remove(...args));
  const notifier = new Notifier();
  const result = waiting(notifier, signal);
  t.equal(listeners, 1);
  notifier.notify();
  t.equal(await result(), true);
  t.equal(listeners, 0);
});
