/**
 * From the start of `ztap rollout undo` to the moment when each of a hundred nodes has acknowledged the state before, beside a plain
 * put that a plain etcd3 watch of each node answers.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { Etcd3 } from "etcd3";
import { openEtcdStore } from "../../dist/src/adapters/etcd/store.js";
import { systemClock } from "../../dist/src/adapters/system/clock.js";
import { withEtcd } from "../../dist/test/etcd/server.js";
import { draft, policy } from "../../dist/test/fakes/objects.js";

const NODES = 100;
const PROCESSES = 2;
const PREFIX = "bench/";
const ROOT = join(import.meta.dirname, "../..");

/** @param report takes the times of both, in milliseconds, one for each node and round */
export async function measureUndo(rounds, report) {
  await withEtcd({}, async ({ endpoints: [endpoint] }) => {
    const client = new Etcd3({ hosts: `http://${endpoint}` });
    const cluster = { endpoints: [endpoint], prefix: PREFIX, tls: null, auth: null, timeoutMs: 5000 };
    const store = openEtcdStore(cluster, systemClock, 0);
    const workers = Array.from({ length: PROCESSES }, (_, index) => {
      const each = NODES / PROCESSES;
      const args = [join(import.meta.dirname, "followers.mjs"), endpoint, PREFIX, index * each, each].map(String);
      return spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    });
    try {
      await Promise.all(workers.map((worker) => once(worker.stdout, "data")));
      const watcher = await client.watch().prefix(PREFIX).create();
      const reached = (revision) => (text) => JSON.parse(text).attemptedRevision >= revision;
      const [own, plain] = [[], []];
      let port = 1;
      await commit(store, port);
      for (let round = -1; round < rounds; round += 1) {
        port += 1;
        const bad = await timesOf(watcher, `${PREFIX}status/`, reached((await store.readHead()) + 1), async () => {
          await commit(store, port);
          return performance.now();
        });
        if (bad.length !== NODES) throw new Error("not every node follows");
        const head = await store.readHead();
        const ownMs = await timesOf(watcher, `${PREFIX}status/`, reached(head + 1), async () => {
          const from = performance.now();
          await undo(endpoint);
          return from;
        });
        const plainMs = await timesOf(
          watcher,
          `${PREFIX}ack/`,
          (text) => text === String(round),
          async () => {
            const from = performance.now();
            await client.put(`${PREFIX}plain`).value(String(round));
            return from;
          },
        );
        await store.writeSuspension(null);
        // The first round warms both up.
        if (round >= 0) (own.push(...ownMs), plain.push(...plainMs));
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

async function commit(store, port) {
  await store.commit(draft([policy("web", port)]), { expectHead: await store.readHead(), fence: null });
}

async function undo(endpoint) {
  const command = spawn(join(ROOT, "bin/ztap"), ["rollout", "undo", "--auto-approve", "--reason", "bench"], {
    env: { ...process.env, ZTAP_STORE: `etcd://${endpoint}/${PREFIX.slice(0, -1)}` },
    stdio: ["ignore", "ignore", "inherit"],
  });
  const [code] = await once(command, "exit");
  if (code !== 0) throw new Error(`ztap rollout undo: exit code ${code}`);
}

/** Milliseconds from what `begin` returns to the moment when each node's answer was seen. */
function timesOf(watcher, prefix, isAnswer, begin) {
  return new Promise((resolve, reject) => {
    const answered = new Map();
    let from = null;
    const settle = () => {
      if (from === null || answered.size < NODES) return;
      watcher.off("put", hear);
      resolve([...answered.values()].map((at) => at - from));
    };
    const hear = ({ key, value }) => {
      const name = key.toString();
      if (!name.startsWith(prefix) || !isAnswer(value.toString())) return;
      if (!answered.has(name)) answered.set(name, performance.now());
      settle();
    };
    watcher.on("put", hear);
    begin().then((started) => {
      from = started;
      settle();
    }, reject);
  });
}
