/** Whatever a script does, the process that runs it goes on, and knows which limit was exceeded. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import {
  EXHAUSTED,
  ProcessLimitError,
  runBounded,
  type ProcessOptions,
} from "../../src/adapters/system/bounded-process.js";
import { inFolder } from "../fakes/repository.js";
import { HANG_MS, pause } from "../wait.js";

const LIMITS = { memoryMib: 64, cpuSeconds: 1_000, deadlineMs: HANG_MS, answerBytes: 1_000_000 };

/** Runs a test with a function that runs a script; `request` is what the script was given. */
function withScripts(
  title: string,
  run: (t: Test, on: (body: string, request: unknown, limits?: ProcessOptions) => Promise<unknown>) => Promise<void>,
): void {
  void t.test(title, (t) =>
    inFolder(async (folder) => {
      await run(t, (body, request, limits: ProcessOptions = LIMITS) => {
        const script = `
          import { readFileSync } from "node:fs";
          import { deserialize, serialize } from "node:v8";
          const request = deserialize(readFileSync(0));
          let count = 0;
          const answer = (value) => process.stdout.write(serialize(value));
          ${body}`;
        writeFileSync(join(folder, "script.mjs"), script);
        return runBounded(join(folder, "script.mjs"), request, limits);
      });
    }),
  );
}

withScripts("a script answers a request, whatever their sizes", async (t, on) => {
  const request = { text: "x".repeat(900_000), map: new Map([["a", [1, undefined]]]) };
  t.same(await on("answer(request);", request), request);
});

for (const [title, body] of [
  ["objects", "const all = []; for (;;) all.push({ count: count++ });"],
  ["texts", 'const all = []; for (;;) all.push(String(count++).padEnd(1000, "x"));'],
  ["one list", "const list = []; for (;;) list.push(...new Array(100_000).fill(count++));"],
  ["one map", "const map = new Map(); for (;;) map.set(count++, count);"],
  ["one large list at once", "answer(new Array(2 ** 25).fill(0).map(() => ({})));"],
  ["its answer", 'answer("x".repeat(1_000_001));'],
  ["what it reports itself", `process.exitCode = ${EXHAUSTED};`],
  ["the kernel's hand", 'process.kill(process.pid, "SIGKILL");'],
] as const) {
  withScripts(`memory that ends through ${title} fails the request alone`, async (t, on) => {
    await t.rejects(on(body, null), new ProcessLimitError("memory"));
  });
}

for (const [title, body, limits] of [
  ["a loop", "for (;;);", { ...LIMITS, cpuSeconds: 1 }],
  ["a pattern", '/^(a+)+$/.test("a".repeat(100) + "b");', { ...LIMITS, cpuSeconds: 1 }],
  ["a pause", "setInterval(() => undefined, 1000);", { ...LIMITS, deadlineMs: 300 }],
] as const) {
  withScripts(`time that ends in ${title} fails the request, and stops nobody else meanwhile`, async (t, on) => {
    let [turns, isOver] = [0, false];
    const others = (async () => {
      for (; !isOver; turns += 1) await pause(1);
    })();
    await t.rejects(on(body, null, limits), new ProcessLimitError("time"));
    isOver = true;
    await others;
    t.ok(turns > 10, "the event loop ran");
  });
}

withScripts("a script that fails, or is asked to end, has not exceeded a limit", async (t, on) => {
  await t.rejects(on('throw new TypeError("a mistake");', null), { message: /ended with 1: .*TypeError: a mistake/s });
  await t.rejects(on('process.kill(process.pid, "SIGTERM");', null), { message: /ended with SIGTERM/ });
  await t.rejects(on("process.exit(7);", "x".repeat(900_000)), { message: /ended with 7/ });
});

withScripts("a script ends when its caller is asked to stop", async (t, on) => {
  const stop = new AbortController();
  const running = on("for (;;);", null, { ...LIMITS, signal: stop.signal });
  stop.abort();
  await t.rejects(running, { name: "AbortError" });
  await t.rejects(on("for (;;);", null, { ...LIMITS, signal: stop.signal }), { name: "AbortError" }, "or was before");
});

withScripts("a script does not see the environment", async (t, on) => {
  process.env["ZTAP_TEST_SECRET"] = "secret";
  t.notOk(String(await on("answer(JSON.stringify(process.env));", null)).includes("SECRET"));
  delete process.env["ZTAP_TEST_SECRET"];
});
