/** From a commit to the last of a hundred followers' acknowledgement, beside a plain etcd3 watch with the same fan-out. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { Etcd3 } from "etcd3";
import { openEtcdStore } from "../../dist/src/adapters/etcd/store.js";
import { systemClock } from "../../dist/src/adapters/system/clock.js";
import { withEtcd } from "../../dist/test/etcd/server.js";
import { draft, policy } from "../../dist/test/fakes/objects.js";

const FOLLOWERS = 100;
const PROCESSES = 2;
const PREFIX = "bench/";

/** @param report takes the times of both, in milliseconds, one for each round */
export async function measureFanOut(rounds, report) {
  await withEtcd({}, async ({ endpoints: [endpoint] }) => {
    const client = new Etcd3({ hosts: `http://${endpoint}` });
    const store = openEtcdStore(
      { endpoints: [endpoint], prefix: PREFIX, tls: null, auth: null, timeoutMs: 5000 },
      systemClock,
      0,
    );
    const workers = Array.from({ length: PROCESSES }, (_, index) => {
      const each = FOLLOWERS / PROCESSES;
      const args = [join(import.meta.dirname, "followers.mjs"), endpoint, PREFIX, index * each, each].map(String);
      return spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    });
    try {
      await Promise.all(workers.map((worker) => once(worker.stdout, "data")));
      const watcher = await client.watch().prefix(PREFIX).create();
      const [own, plain] = [[], []];
      // The first rounds warm both up and are not counted.
      for (let round = -5; round < rounds; round += 1) {
        const ownMs = await lastOf(
          watcher,
          `${PREFIX}status/`,
          (text) => JSON.parse(text).attemptedRevision >= round + 6,
          async () => {
            const expectHead = await store.readHead();
            // What is measured begins where the caller decides to commit.
            const from = performance.now();
            await store.commit(draft([policy("web", round + 6)]), { expectHead, fence: null });
            return from;
          },
        );
        const plainMs = await lastOf(
          watcher,
          `${PREFIX}ack/`,
          (text) => text === String(round),
          async () => {
            const from = performance.now();
            await client.put(`${PREFIX}plain`).value(String(round));
            return from;
          },
        );
        if (round >= 0) (own.push(ownMs), plain.push(plainMs));
      }
      await watcher.cancel();
      report(own, plain);
    } finally {
      for (const worker of workers) {
        const ended = once(worker, "exit");
        worker.kill("SIGKILL");
        await ended;
      }
      await store.close();
      client.close();
    }
  });
}

/** Milliseconds from what `begin` returns to the moment when the last follower's answer was seen. */
function lastOf(watcher, prefix, isAnswer, begin) {
  return new Promise((resolve, reject) => {
    const answered = new Set();
    let from = null;
    const hear = ({ key, value }) => {
      const name = key.toString();
      if (!name.startsWith(prefix) || !isAnswer(value.toString())) return;
      answered.add(name);
      if (answered.size < FOLLOWERS) return;
      watcher.off("put", hear);
      resolve(performance.now() - from);
    };
    watcher.on("put", hear);
    begin().then((started) => (from = started), reject);
  });
}
