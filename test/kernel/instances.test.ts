/** Instances in the kernel: two nodes' reports, one follower, and packets. */
import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { ReportedInstance } from "../../src/model/endpoints.js";
import { Follower } from "../../src/reconcile/follower.js";
import { objectsOf, policy } from "../builders/state.js";
import { ENDPOINTS } from "../contract/store-endpoints.js";
import { recordTelemetry, silentLogger } from "../fakes/ambient.js";
import { draft } from "../fakes/objects.js";
import { Sandbox, whyNot } from "./sandbox.js";

const reason = whyNot();
if (reason !== null) t.plan(0, `SKIP kernel tests: ${reason}`);
else {
  const PEER = "10.204.0.2";
  const sandbox = new Sandbox(t);
  const [inside, outside] = sandbox.network(["10.204.0.1/24"], [`${PEER}/24`]);
  const peer = await sandbox.actor({ namespace: outside });
  const { port } = await peer.call("tcpListen", { host: "0.0.0.0", port: 0 });

  await t.test(
    "each cgroup that is found is enforced, and reaches a peer from the moment that it is reported",
    async (t) => {
      const node = sandbox.node("inst");
      const root = sandbox.cgroupPathOf("shop");
      const state = [
        `apiVersion: ztap/v1\nkind: NodeGroup\nmetadata: { name: all, labels: { role: web } }\nspec: { nodeNames: ["*"], addressRanges: [10.204.0.0/24] }\n`,
        `---\napiVersion: ztap/v1\nkind: Workload\nmetadata: { name: web, labels: { app: web } }\nspec: { node: ${node}, process: { cgroup: "${root}/*.scope" } }\n`,
        `---\napiVersion: ztap/v1\nkind: Workload\nmetadata: { name: db, labels: { app: db } }\nspec: { node: other, process: { container: { name: db } } }\n`,
        policy(
          "web",
          "  podSelector: { matchLabels: { app: web } }\n  egress: [{ to: { podSelector: { matchLabels: { app: db } } } }]\n",
        ),
      ].join("");
      const store = openMemoryStore(systemClock);
      const objects = [...objectsOf(state).values()].map(({ object }) => object);
      await store.commit(draft(objects), { expectHead: null, fence: null });
      const enforcer = sandbox.enforcer(node);
      await enforcer.open();
      const { telemetry } = recordTelemetry();
      const follower = new Follower(
        {
          store,
          enforcer,
          lastGood: null,
          managementAccess: null,
          clock: systemClock,
          logger: silentLogger,
          telemetry,
        },
        node,
      );
      const names = ["a.scope", `${"x".repeat(240)}.scope`];
      const cgroups = names.map((name) => sandbox.cgroup(`shop/${name}`));
      const found = cgroups.map((cgroup): ReportedInstance => ({
        ...{ workload: "default/web", instance: cgroup, cgroup, addresses: [], ports: [] },
      }));
      const own = { ...ENDPOINTS, node, addresses: ["10.204.0.1"], instances: found };
      await store.writeEndpoints(own);
      await follower.reconcile();
      const [status] = await store.listNodeStatus();
      t.match(
        status?.subjects.map(({ state }) => state),
        ["Enforced", "Enforced"],
        status?.message ?? "",
      );
      t.match(status?.subjects[1]?.workload, /^default\/web@\S+\/\S+~[0-9a-f]{16}$/, "a long name is shortened");
      const actors = await Promise.all(cgroups.map((cgroup) => sandbox.actor({ cgroup, namespace: inside })));
      const outcomes = (): Promise<readonly string[]> =>
        Promise.all(
          actors.map(async (actor) => {
            const { id, code } = await actor.call("tcpConnect", { host: PEER, port: Number(port) });
            return id === undefined ? String(code) : "connected";
          }),
        );
      t.strictSame(await outcomes(), ["EPERM", "EPERM"]);

      const box = {
        workload: "default/db",
        instance: "db",
        cgroup: "machine.slice/db.scope",
        addresses: [PEER],
        ports: [],
      };
      await store.writeEndpoints({ ...ENDPOINTS, node: "other", addresses: [], instances: [box] });
      t.equal(await follower.isOutdated(), true);
      await follower.reconcile();
      t.strictSame(await outcomes(), ["connected", "connected"]);

      await store.writeEndpoints({ ...own, instances: found.slice(0, 1) });
      await store.leaveMember("other");
      await follower.reconcile();
      const [first] = await outcomes();
      t.equal(first, "EPERM", "the peer is gone");
      t.match((await store.listNodeStatus())[0]?.subjects.length, 1, "an instance that is gone is no subject any more");
    },
  );
}
