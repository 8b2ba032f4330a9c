/**
 * From a container's start on one node to the address being in force on another one, among a hundred nodes on one etcd; and a
 * thousand containers that come and go within a minute. The agents' loops are real; the machine of each is a Map. Beside it, a
 * plain etcd3 put and watch.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Etcd3 } from "etcd3";
import { openEtcdStore } from "../../dist/src/adapters/etcd/store.js";
import { systemClock } from "../../dist/src/adapters/system/clock.js";
import { objectsOf } from "../../dist/test/builders/state.js";
import { withEtcd } from "../../dist/test/etcd/server.js";
import { draft } from "../../dist/test/fakes/objects.js";
import { pause, waitUntil } from "../../dist/test/wait.js";
import { startEndpointAgent } from "./endpoint-agents.mjs";

const NODES = 100;
const PROCESSES = 2;
const PREFIX = "bench/";
const CONTAINERS = 1_000;
const MINUTE_MS = 60_000;

const STATE = `
apiVersion: ztap/v1
kind: NodeGroup
metadata: { name: a, labels: { role: a } }
spec: { nodeNames: [a], addressRanges: [10.0.0.0/8] }
---
apiVersion: ztap/v1
kind: NodeGroup
metadata: { name: b, labels: { role: b } }
spec: { nodeNames: [b], addressRanges: [10.0.0.0/8] }
---
apiVersion: ztap/v1
kind: NodeGroup
metadata: { name: others, labels: { role: other } }
spec: { nodeNames: ["n*"], addressRanges: [10.0.0.0/8] }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: box, labels: { app: box } }
spec: { nodeSelector: { matchLabels: { role: a } }, process: { container: { name: "box-*" } } }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: server, labels: { app: server } }
spec: { nodeSelector: { matchLabels: { role: b } }, process: { systemdUnit: server.service } }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: other, labels: { app: other } }
spec: { nodeSelector: { matchLabels: { role: other } }, process: { systemdUnit: other.service } }
---
apiVersion: ztap/v1
kind: NetworkPolicy
metadata: { name: server }
spec:
  podSelector: { matchLabels: { app: server } }
  ingress: [{ from: [{ podSelector: { matchLabels: { app: box } } }] }]
`;

const addressOf = (index) => `10.1.${(index >> 8) & 255}.${index & 255}`;

/** @param report takes the times of both, in milliseconds, and what is left after the minute */
export async function measureEndpoints(rounds, report) {
  await withEtcd({}, async ({ endpoints: [endpoint] }) => {
    const client = new Etcd3({ hosts: `http://${endpoint}` });
    const cluster = { endpoints: [endpoint], prefix: PREFIX, tls: null, auth: null, timeoutMs: 5000 };
    const store = openEtcdStore(cluster, systemClock, 0);
    const objects = [...objectsOf(STATE).values()].map(({ object }) => object);
    await store.commit(draft(objects), { expectHead: null, fence: null });
    const stop = new AbortController();
    const [a, b] = [
      startEndpointAgent(cluster, "a", "10.0.0.1", stop.signal),
      startEndpointAgent(cluster, "b", "10.0.0.2", stop.signal),
    ];
    const others = Array.from({ length: PROCESSES }, (_, index) => {
      const each = (NODES - 2) / PROCESSES;
      const args = [join(import.meta.dirname, "endpoint-agents.mjs"), endpoint, PREFIX, index * each, each].map(String);
      const worker = spawn(process.execPath, args, { stdio: ["pipe", "pipe", "inherit"] });
      return { worker, lines: createInterface({ input: worker.stdout })[Symbol.asyncIterator]() };
    });
    const runsOfOthers = async () => {
      const counts = others.map(async ({ worker, lines }) => {
        worker.stdin.write("count\n");
        return Number((await lines.next()).value);
      });
      return (await Promise.all(counts)).reduce((sum, one) => sum + one, 0);
    };
    try {
      await Promise.all(others.map(({ lines }) => lines.next()));
      await waitUntil(() => b.runs() > 0 && a.runs() > 0, { what: "the first runs" });
      await settle(runsOfOthers);
      const before = await runsOfOthers();

      const own = [];
      for (let round = -5; round < rounds; round += 1) {
        const index = round + 5;
        const from = performance.now();
        a.start(index, addressOf(index));
        await b.untilHolds(addressOf(index), true);
        if (round >= 0) own.push(performance.now() - from);
        a.stop(index);
        await b.untilHolds(addressOf(index), false);
      }

      const plain = [];
      const watcher = await client.watch().key(`${PREFIX}plain`).create();
      for (let round = -5; round < rounds; round += 1) {
        const from = performance.now();
        const seen = once(watcher, "put");
        await client.put(`${PREFIX}plain`).value(String(round));
        await seen;
        if (round >= 0) plain.push(performance.now() - from);
      }
      await watcher.cancel();

      const lost = [];
      const living = [];
      const began = performance.now();
      for (let index = 0; index < CONTAINERS; index += 1) {
        const at = 1000 + index;
        living.push(
          (async () => {
            a.start(at, addressOf(at));
            const wasSeen = await Promise.race([
              b.untilHolds(addressOf(at), true).then(() => true),
              pause(10_000).then(() => false),
            ]);
            if (!wasSeen) lost.push(at);
            a.stop(at);
          })(),
        );
        await pause(Math.max(0, began + ((index + 1) * MINUTE_MS) / CONTAINERS - performance.now()));
      }
      const seconds = (performance.now() - began) / 1000;
      await Promise.all(living);
      await waitUntil(() => !b.holds("10.1."), { what: "the end of all addresses" });
      const [record] = (await store.listEndpoints()).filter(({ node }) => node === "a");
      report({
        ...{ own, plain, seconds, lost: lost.length, left: record?.instances.length ?? -1 },
        woken: (await runsOfOthers()) - before,
      });
    } finally {
      stop.abort();
      for (const { worker } of others) {
        const ended = once(worker, "exit");
        worker.kill("SIGKILL");
        await ended;
      }
      await Promise.all([a.ended, b.ended]);
      await store.close();
      client.close();
    }
  });
}

/** Waits until the others have come to rest after their start. */
async function settle(count) {
  let last = -1;
  await waitUntil(
    async () => {
      const now = await count();
      const isSame = now === last;
      last = now;
      if (!isSame) await pause(2000);
      return isSame;
    },
    { what: "the rest of the other nodes" },
  );
}
