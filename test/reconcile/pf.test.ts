/** The follower's loop over pf, from a commit to the text that pfctl was given, with the stand-in for the program. */
import t from "tap";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { Store } from "../../src/interfaces/store.js";
import { Follower } from "../../src/reconcile/follower.js";
import { objectsOf, policy, TEST_SOURCE } from "../builders/state.js";
import { recordTelemetry, seededRandom, silentLogger } from "../fakes/ambient.js";
import { Machine } from "../pf/machine.js";

const NODE = (enforcement: string) => `---
apiVersion: ztap/v1
kind: Node
metadata: { name: mac-1 }
spec: { address: "192.0.2.20:9470", enforcement: ${enforcement} }
---
apiVersion: ztap/v1
kind: Workload
metadata: { name: web, labels: { app: web } }
spec: { node: mac-1, addresses: ["10.0.0.1"] }
`;
const ALLOW = (port: number) => policy("web", `  podSelector: {}\n  ingress: [{ ports: [{ port: ${port} }] }]`);

async function commit(store: Store, text: string): Promise<void> {
  const head = await store.readHead();
  const outcome = await store.commit(
    {
      objects: [...objectsOf(text).values()],
      ...{ source: TEST_SOURCE, node: "mac-1", author: "a", reason: "test" },
      commitId: `${seededRandom(1).id()}${head ?? ""}`,
      time: "2026-01-01T00:00:00.000Z",
    },
    { expectHead: head, fence: null },
  );
  if (outcome.outcome !== "committed") throw new Error(outcome.outcome);
}

t.test("follows head, heals what was changed by hand, and says what it cannot do", async (t) => {
  const machine = new Machine(t);
  const store = openMemoryStore(systemClock);
  const enforcer = machine.enforcer();
  await enforcer.open();
  t.teardown(() => enforcer.close());
  const { telemetry } = recordTelemetry();
  const deps = {
    store,
    enforcer,
    lastGood: null,
    managementAccess: null,
    clock: systemClock,
    logger: silentLogger,
    telemetry,
  };
  const follower = new Follower(deps, "mac-1");
  const status = async () => (await store.listNodeStatus())[0];

  await commit(store, NODE("pf") + ALLOW(80));
  await follower.reconcile();
  t.match(await status(), { backend: "pf", state: "InSync", enforcedRevision: 1, subjects: [{ state: "Enforced" }] });
  t.match(machine.state.anchors["ztap"]?.rules.join("\n"), /port = 80 /);
  const loads = () => machine.state.calls.filter((call) => call === "-a ztap -o none -f -").length;
  await follower.reconcile();
  t.equal(loads(), 1, "what is as it should be is left alone");

  machine.change((state) => ({ anchors: { ztap: { ...state.anchors["ztap"]!, rules: [] } } }));
  await follower.reconcile();
  t.match(await status(), { state: "InSync", message: /healed \d+ differences/ });
  t.equal(loads(), 2);

  machine.change(() => ({ failLoad: true }));
  await commit(store, NODE("pf") + ALLOW(81));
  await t.rejects(follower.reconcile());
  t.match(await status(), { state: "Stalled", enforcedRevision: 1, message: /Device busy/ });
  t.match(machine.state.anchors["ztap"]?.rules.join("\n"), /port = 80 /, "the last good rules stay");
  machine.change(() => ({ failLoad: false }));
  await follower.reconcile();
  t.match(await status(), { state: "InSync", enforcedRevision: 2 });

  machine.change(() => ({ main: ['anchor "com.apple/*" all'] }));
  await t.rejects(follower.reconcile());
  t.match(await status(), { state: "Stalled", message: /ztap enforcement setup/ });
  machine.change(() => ({ main: ['anchor "ztap" all'] }));
  await commit(store, NODE("ebpf") + ALLOW(81));
  await follower.reconcile();
  t.match(await status(), {
    state: "Stalled",
    message: /the Node says enforcement: ebpf, and this agent enforces with pf/,
  });
});
