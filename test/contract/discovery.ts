/** What every ProcessDiscovery guarantees. */
import t, { type Test } from "tap";
import { refuseClaim } from "../../src/inventory/process.js";
import type { ProcessDiscovery, WantedProcesses } from "../../src/interfaces/discovery.js";
import type { ProcessPattern } from "../../src/model/objects.js";

/** A machine of the test's own; what is made on it is removed with it. */
export interface DiscoveryBench {
  readonly discovery: ProcessDiscovery;
  /** Part of the names of units and containers that no other test on this machine uses. */
  readonly tag: string;
  /** Starts a service of the system's systemd. */
  startUnit(name: string): Promise<void>;
  stopUnit(name: string): Promise<void>;
  /** Makes a cgroup below the root, with those above it. */
  createCgroup(path: string): Promise<void>;
  /** Starts a container with a network namespace of its own; null without a runtime. */
  readonly startContainer:
    | ((container: {
        readonly name: string;
        readonly image: string;
        readonly labels: Record<string, string>;
      }) => Promise<void>)
    | null;
}

/**
 * @param withBench makes a bench, hands it to the case, and clears it away, also where the case fails
 * @param hasContainers whether the bench has a container runtime
 */
export async function discoveryContract(
  name: string,
  withBench: (run: (bench: DiscoveryBench) => Promise<void>) => Promise<void>,
  hasContainers = true,
): Promise<void> {
  const want = (workload: string, pattern: ProcessPattern): WantedProcesses => ({ workload, pattern });
  await t.test(`discovery: ${name}`, async (t) => {
    await t.test("units are found by name and by pattern, once for each workload, and named as readers demand", (t) =>
      withBench(async ({ discovery, tag, startUnit, stopUnit }) => {
        const wanted = [
          want("shop/one", { systemdUnit: `${tag}-a.service` }),
          want("shop/all", { systemdUnit: `${tag}-*.service` }),
          want("shop/none", { systemdUnit: `${tag}-x.service` }),
        ];
        const names = async (): Promise<readonly string[]> =>
          (await discovery.discover(wanted)).instances.map(({ workload, instance }) => `${workload} ${instance}`);
        t.same(await names(), []);
        await startUnit(`${tag}-b.service`);
        await startUnit(`${tag}-a.service`);
        const found = [`shop/all ${tag}-a.service`, `shop/all ${tag}-b.service`, "shop/one "];
        t.same(await names(), found);
        t.same(await names(), found, "the same machine gives the same result");
        const { instances, os, addresses } = await discovery.discover(wanted);
        for (const one of instances) {
          const pattern = wanted.find(({ workload }) => workload === one.workload)?.pattern;
          t.equal(pattern && refuseClaim(pattern, one), null, one.cgroup);
        }
        t.match(os, /^[a-z0-9]+$/);
        t.same(addresses, [...addresses].sort());
        t.notOk(addresses.some((address) => /^(127\.|::1$|fe80:)/.test(address)));
        await stopUnit(`${tag}-a.service`);
        t.same(await names(), [`shop/all ${tag}-b.service`]);
      }),
    );

    await t.test("cgroups are found by path, and a pattern does not reach into a deeper one", (t) =>
      withBench(async ({ discovery, tag, createCgroup }) => {
        await createCgroup(`${tag}/a.scope/inner`);
        await createCgroup(`${tag}/b.scope`);
        const wanted = [want("shop/all", { cgroup: `${tag}/*` }), want("shop/one", { cgroup: `${tag}/b.scope` })];
        t.match((await discovery.discover(wanted)).instances, [
          { workload: "shop/all", instance: `${tag}/a.scope`, cgroup: `${tag}/a.scope` },
          { workload: "shop/all", instance: `${tag}/b.scope` },
          { workload: "shop/one", instance: "", cgroup: `${tag}/b.scope` },
        ]);
        t.match((await discovery.discover([want("shop/host", { host: true })])).instances, [
          { instance: "", cgroup: "" },
        ]);
        t.same((await discovery.discover([])).instances, []);
      }),
    );

    const containers = (t: Test): Promise<void> =>
      withBench(async ({ discovery, tag, startContainer }) => {
        if (startContainer === null) throw new Error("the bench has no container runtime, and does not say so");
        await startContainer({ name: `${tag}-web`, image: "registry.example.com/shop/web:1", labels: { app: tag } });
        const count = async (container: object): Promise<number> => {
          const { instances } = await discovery.discover([want("shop/web", { container })]);
          for (const { instance, addresses } of instances) {
            t.equal(instance, `${tag}-web`);
            t.ok(addresses.length > 0, "its own addresses");
          }
          return instances.length;
        };
        t.equal(await count({ name: `${tag}-*` }), 1);
        t.equal(await count({ labels: { app: tag } }), 1);
        t.equal(await count({ name: `${tag}-*`, labels: { app: "another" } }), 0);
        t.equal(await count({ name: `${tag}-*`, image: "registry.example.com/shop/web:*" }), 1);
        t.equal(await count({ name: `${tag}-*`, image: "registry.example.com/*" }), 0);
      });
    if (hasContainers) await t.test("containers are found by all that their pattern says", containers);

    await t.test("a watch yields at once, then when something came or went, and ends with its signal", (t) =>
      withBench(async ({ discovery, tag, startUnit, stopUnit }) => {
        const controller = new AbortController();
        const events = discovery.watch(controller.signal)[Symbol.asyncIterator]();
        t.equal((await events.next()).done, false);
        const wanted = [want("shop/one", { systemdUnit: `${tag}-w.service` })];
        const until = async (count: number): Promise<void> => {
          while ((await discovery.discover(wanted)).instances.length !== count) t.not((await events.next()).done, true);
        };
        await startUnit(`${tag}-w.service`);
        await until(1);
        await stopUnit(`${tag}-w.service`);
        await until(0);
        controller.abort();
        // What happened before the end may still be told.
        let next = await events.next();
        while (next.done !== true) next = await events.next();
        t.equal(next.done, true);
      }),
    );
  });
}
