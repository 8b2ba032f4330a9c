/**
 * Followers for the fan-out benchmark, many in one process: real agents' loops with a store of their
 * own each, and enforcement off; beside them as many plain etcd3 watches that answer each change of
 * one key by putting a key of their own.
 *
 *     node followers.mjs <endpoint> <prefix> <first> <count>
 */
import { Etcd3 } from "etcd3";
import { openEtcdStore } from "../../dist/src/adapters/etcd/store.js";
import { createTelemetry } from "../../dist/src/adapters/prometheus/telemetry.js";
import { systemClock, systemRandom } from "../../dist/src/adapters/system/clock.js";
import { runAgent } from "../../dist/src/reconcile/agent.js";
import { agentDeps, agentOptions } from "../../dist/test/fakes/agent.js";
import { silentLogger } from "../../dist/test/fakes/ambient.js";

const [endpoint, prefix, first, count] = process.argv.slice(2);
const stop = new AbortController();
process.once("SIGTERM", () => stop.abort());

const agents = Array.from({ length: Number(count) }, async (_, index) => {
  const node = `n${Number(first) + index}`;
  const cluster = { endpoints: [endpoint], prefix, tls: null, auth: null, timeoutMs: 5000 };
  const store = openEtcdStore(cluster, systemClock, 0);
  const { telemetry } = createTelemetry();
  const deps = agentDeps(store, { random: systemRandom, telemetry, logger: { ...silentLogger, error: console.error } });
  const options = agentOptions({ node, address: `${node}:9470`, holder: `${process.pid}/${node}` });
  await runAgent(deps, options, stop.signal);
  await store.close();
});

const plain = await Promise.all(
  Array.from({ length: Number(count) }, async (_, index) => {
    const client = new Etcd3({ hosts: `http://${endpoint}` });
    const watcher = await client.watch().key(`${prefix}plain`).create();
    watcher.on(
      "put",
      ({ value }) =>
        void client
          .put(`${prefix}ack/${Number(first) + index}`)
          .value(value)
          .exec(),
    );
    return { client, watcher };
  }),
);
process.stdout.write("ready\n");
await Promise.all(agents);
for (const { client, watcher } of plain) {
  await watcher.cancel();
  client.close();
}
process.exit();
