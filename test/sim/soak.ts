/**
 * Histories by the thousand, on every core:
 *
 *     npm run soak -- sim [histories, 20,000] [first seed, drawn]
 *
 * Prints each seed that fails, with the command that replays it; ends with 1 where there was one.
 */
import { availableParallelism } from "node:os";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { describeFailure, runHistory } from "./run.js";

interface Share {
  readonly first: number;
  readonly count: number;
  readonly step: number;
}

/** Told by a worker: a history that failed, or that a hundred more have ended. */
type News = { readonly failure: string } | { readonly ended: number };

async function work({ first, count, step }: Share): Promise<void> {
  const tell = (news: News): void => parentPort?.postMessage(news);
  let ended = 0;
  for (let index = 0; index < count; index += step) {
    const outcome = await runHistory(first + index);
    if (outcome.violation !== null) tell({ failure: describeFailure(outcome) });
    ended += 1;
    if (ended % 100 === 0) tell({ ended: 100 });
  }
  tell({ ended: ended % 100 });
}

async function runAll(first: number, count: number): Promise<number> {
  const step = availableParallelism();
  let failed = 0;
  let ended = 0;
  const workers = Array.from({ length: step }, (_unused, index) => {
    const share: Share = { first: first + index, count: count - index, step };
    const worker = new Worker(import.meta.filename, { workerData: share });
    return new Promise<void>((resolve, reject) => {
      worker.on("message", (news: News) => {
        if ("failure" in news) {
          failed += 1;
          process.stdout.write(`FAIL ${news.failure}\n\n`);
          return;
        }
        const before = Math.floor(ended / 5000);
        ended += news.ended;
        if (Math.floor(ended / 5000) > before) process.stdout.write(`${ended} histories, ${failed} failed\n`);
      });
      worker.on("error", reject);
      worker.on("exit", () => resolve());
    });
  });
  await Promise.all(workers);
  process.stdout.write(`${ended} histories from seed ${first} on, ${failed} failed\n`);
  return failed;
}

if (isMainThread) {
  const [count = 20_000, first = 1 + Math.floor(Math.random() * 2 ** 30)] = process.argv.slice(2).map(Number);
  process.exitCode = (await runAll(first, count)) === 0 ? 0 : 1;
} else {
  await work(workerData as Share);
}
