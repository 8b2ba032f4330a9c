/** Endpoints: the record of each node, its bounds, and the watch of it. */
import type { NodeEndpoints, ReportedInstance } from "../../src/model/endpoints.js";
import type { StoreCase } from "./bench.js";

const INSTANCE: ReportedInstance = {
  workload: "shop/web",
  instance: "",
  cgroup: "system.slice/nginx.service",
  addresses: [],
  ports: [{ protocol: "TCP", port: 80 }],
};

export const ENDPOINTS: NodeEndpoints = {
  node: "n1",
  at: "2026-01-01T00:00:00.000Z",
  os: "linux",
  addresses: ["10.0.0.1", "fd00::1"],
  instances: [
    INSTANCE,
    { ...INSTANCE, workload: "shop/worker", instance: "worker@3.service", cgroup: "system.slice/worker@3.service" },
  ],
  publicKey: "pk",
};

const WRONG: readonly Partial<Record<keyof NodeEndpoints | keyof ReportedInstance, unknown>>[] = [
  { node: "n2" },
  { at: "yesterday" },
  { os: "Linux" },
  { addresses: ["10.0.0.1/8"] },
  { addresses: ["fe80::1%eth0"] },
  { addresses: Array.from({ length: 257 }, (_, index) => `10.0.${index >> 8}.${index & 255}`) },
  { publicKey: "a b" },
  { instances: Array.from({ length: 4097 }, () => INSTANCE) },
  { instances: [{ ...INSTANCE, workload: "shop/web@n1" }] },
  { instances: [{ ...INSTANCE, instance: "a b" }] },
  { instances: [{ ...INSTANCE, instance: "x".repeat(1025) }] },
  { instances: [{ ...INSTANCE, cgroup: "a\nb" }] },
  { instances: [{ ...INSTANCE, ports: [{ protocol: "TCP", port: 65_536 }] }] },
  { instances: [{ ...INSTANCE, ports: [{ protocol: "ICMP", port: 8 }] }] },
];

export const endpointCases: readonly StoreCase[] = [
  {
    title: "a node's endpoints are read back the same, the last ones written, in the order of the nodes",
    async run(t, { store, open }) {
      const other = await open();
      t.same(await store.listEndpoints(), []);
      await store.writeEndpoints({ ...ENDPOINTS, instances: [] });
      await store.writeEndpoints(ENDPOINTS);
      await store.writeEndpoints({ ...ENDPOINTS, node: "n0" });
      t.same(await other.listEndpoints(), [{ ...ENDPOINTS, node: "n0" }, ENDPOINTS]);
      t.same(await other.listEndpoints({ watched: true }), [{ ...ENDPOINTS, node: "n0" }, ENDPOINTS]);
      t.equal(await store.leaveMember("n0"), true);
      t.same(await other.listEndpoints(), [ENDPOINTS]);
    },
  },
  {
    title: "endpoints beyond a bound, or without their shape, are left out alone, and said to be damaged",
    async run(t, { store, damage }) {
      await store.writeEndpoints({ ...ENDPOINTS, node: "n2" });
      for (const wrong of WRONG) {
        await damage("endpoints/n1", JSON.stringify({ ...ENDPOINTS, ...wrong }));
        t.same(
          (await store.listEndpoints()).map(({ node }) => node),
          ["n2"],
          JSON.stringify(wrong).slice(0, 80),
        );
        t.match(await store.listDamaged(), [{ key: "endpoints/n1", what: "endpoints", node: "n1" }]);
      }
      const most = Array.from({ length: 4096 }, (_, index) => ({ ...INSTANCE, instance: `i${index}` }));
      await store.writeEndpoints({ ...ENDPOINTS, instances: most });
      t.equal((await store.listEndpoints())[0]?.instances.length, 4096, "the bound itself is allowed");
    },
  },
  {
    title: "who reads watched endpoints on every event has seen the last change, also the leaving of a node",
    async run(t, { store, open }) {
      const other = await open();
      const controller = new AbortController();
      const events = store.watch(controller.signal, ["endpoints"])[Symbol.asyncIterator]();
      const next = async (): Promise<string | null> => (await events.next()).value?.changed ?? null;
      t.equal(await next(), "head", "the first event");
      t.same(await store.listEndpoints({ watched: true }), []);
      const read = async (): Promise<readonly string[]> =>
        (await store.listEndpoints({ watched: true })).map(({ node, instances }) => `${node} ${instances.length}`);
      const until = async (wanted: string): Promise<void> => {
        while ((await read()).join() !== wanted) t.equal(await next(), "endpoints");
      };
      await other.writeEndpoints(ENDPOINTS);
      await until("n1 2");
      for (let count = 3; count <= 20; count += 1)
        await other.writeEndpoints({ ...ENDPOINTS, instances: Array.from({ length: count }, () => INSTANCE) });
      await until("n1 20");
      await other.writeEndpoints({ ...ENDPOINTS, node: "n0" });
      await until("n0 2,n1 20");
      await other.leaveMember("n1");
      await until("n0 2");
      await other.writeEndpoints(ENDPOINTS);
      await until("n0 2,n1 2");
      controller.abort();
      t.equal(await next(), null);
      await other.leaveMember("n0");
      t.same(await read(), ["n1 2"], "without a watch the store is asked");
    },
  },
];
