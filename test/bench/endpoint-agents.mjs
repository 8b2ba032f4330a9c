/**
 * Agents for the benchmark of endpoints: real loops with a store of their own each, on machines that are Maps. Run by itself:
 * many in one process, which answers each line of input with the number of their runs.
 *
 *     node endpoint-agents.mjs <endpoint> <prefix> <first> <count>
 */
import { createInterface } from "node:readline";
import { openEtcdStore } from "../../dist/src/adapters/etcd/store.js";
import { systemClock, systemRandom } from "../../dist/src/adapters/system/clock.js";
import { runAgent } from "../../dist/src/reconcile/agent.js";
import { agentDeps, agentOptions } from "../../dist/test/fakes/agent.js";
import { silentLogger } from "../../dist/test/fakes/ambient.js";
import { FakeDiscovery } from "../../dist/test/fakes/discovery.js";
import { FakeEnforcer, FakeMachine } from "../../dist/test/fakes/enforcer.js";

export function startEndpointAgent(cluster, node, address, signal) {
  const store = openEtcdStore(cluster, systemClock, 0);
  const discovery = new FakeDiscovery();
  discovery.addresses = [address];
  const machine = new FakeMachine();
  let [runs, waiting] = [0, []];
  const holds = (text) => [...machine.items].some(([key, { value }]) => `${key} ${value}`.includes(text));
  machine.written = () => {
    waiting = waiting.filter(({ text, isHeld, resolve }) => holds(text) !== isHeld || resolve());
  };
  const counted = new FakeEnforcer(machine, {
    pause: (step) => {
      if (step === "observing") runs += 1;
      return Promise.resolve();
    },
    deliver: (run) => run(),
  });
  const deps = agentDeps(store, {
    ...{ random: systemRandom, enforcer: counted, discovery },
    logger: { ...silentLogger, error: console.error },
  });
  // Nothing runs because time passed.
  const options = agentOptions(
    { node, address: `${node}:9470`, checkInterval: "10m" },
    { holder: `${process.pid}/${node}` },
  );
  return {
    runs: () => runs,
    holds,
    start: (index, own) =>
      discovery.create(`machine.slice/box-${index}.scope`, {
        ...{ name: `box-${index}`, image: "box", labels: {}, addresses: [own] },
      }),
    stop: (index) => discovery.remove(`machine.slice/box-${index}.scope`),
    untilHolds: (text, isHeld) =>
      holds(text) === isHeld
        ? Promise.resolve()
        : new Promise((resolve) => {
            waiting.push({ text, isHeld, resolve: () => void resolve() });
          }),
    ended: runAgent(deps, options, signal).finally(() => store.close()),
  };
}

if (process.argv[1] === import.meta.filename) {
  const [endpoint, prefix, first, count] = process.argv.slice(2);
  const cluster = { endpoints: [endpoint], prefix, tls: null, auth: null, timeoutMs: 5000 };
  const { signal } = new AbortController();
  const agents = Array.from({ length: Number(count) }, (_, index) => {
    const number = Number(first) + index;
    return startEndpointAgent(cluster, `n${number}`, `10.2.${number >> 8}.${number & 255}`, signal);
  });
  process.stdout.write("ready\n");
  for await (const _line of createInterface({ input: process.stdin }))
    process.stdout.write(`${agents.reduce((sum, agent) => sum + agent.runs(), 0)}\n`);
}
