/** Agents tell each other their public keys through the store, and each holds what it shares with the others. */
import t from "tap";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nodeKeyPath, openNodeKey } from "../../src/adapters/disk/node-key.js";
import { openMemoryStore } from "../../src/adapters/memory/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { Enforcer, PeerKeys, PeerKeyTable } from "../../src/interfaces/enforcer.js";
import type { Store } from "../../src/interfaces/store.js";
import { runAgent } from "../../src/reconcile/agent.js";
import { objectsOf } from "../builders/state.js";
import { agentDeps, agentOptions } from "../fakes/agent.js";
import { FakeDiscovery } from "../fakes/discovery.js";
import { FakeEnforcer, FakeMachine } from "../fakes/enforcer.js";
import { MemoryLastGood } from "../fakes/last-good.js";
import { draft } from "../fakes/objects.js";
import { FaultyStore } from "../fakes/store.js";
import { HANG_MS, waitUntil } from "../wait.js";

class RecordedKeys implements PeerKeyTable {
  peers = new Map<string, PeerKeys["days"]>();
  areSettled: boolean | undefined;
  write(peers: readonly PeerKeys[], how?: { readonly areSettled?: boolean }): void {
    if (peers.length > 0) this.areSettled ??= how?.areSettled;
    this.peers = new Map(peers.map(({ address, days }) => [address, days]));
  }
}

const GROUP = `
apiVersion: ztap/v1
kind: NodeGroup
metadata: { name: all }
spec: { nodeNames: ["n*"], addressRanges: [10.0.0.0/8] }
`;
const cluster = (identity: string): string =>
  `---\napiVersion: ztap/v1\nkind: Cluster\nmetadata: { name: cluster }\nspec: { identity: ${identity} }\n`;

t.test("keys follow the state, within the time of a watch", { timeout: HANG_MS }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "ztap-identities-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const store = openMemoryStore(systemClock);
  const commit = async (text: string): Promise<void> => {
    const objects = [...objectsOf(text).values()].map(({ object }) => object);
    await store.commit(draft(objects), { expectHead: await store.readHead(), fence: null });
  };
  await commit(GROUP + cluster("syn"));
  const stop = new AbortController();
  const lastGood = new MemoryLastGood();
  const start = (
    node: string,
    address: string,
    { at = store, signal = stop.signal }: { readonly at?: Store; readonly signal?: AbortSignal } = {},
  ): { readonly keys: RecordedKeys; readonly ended: Promise<void> } => {
    const keys = new RecordedKeys();
    const enforcer: Enforcer = Object.assign(new FakeEnforcer(new FakeMachine()), { peerKeys: keys });
    const discovery = new FakeDiscovery();
    discovery.addresses = [address];
    const openKey = () => openNodeKey(nodeKeyPath(folder, node));
    const kept = node === "n1" ? { lastGood } : {};
    const deps = agentDeps(at, { enforcer, discovery, openNodeKey: openKey, ...kept });
    return { keys, ended: runAgent(deps, agentOptions({ node }, { holder: node }), signal) };
  };
  const [one, two] = [start("n1", "10.0.0.1"), start("n2", "10.0.0.2")];
  const today = Math.floor(Date.now() / 86_400_000);
  const shared = (keys: RecordedKeys, address: string): string | undefined =>
    keys.peers.get(address)?.get(today)?.toString("hex");
  await waitUntil(() => shared(one.keys, "10.0.0.2") !== undefined && shared(two.keys, "10.0.0.1") !== undefined, {
    what: "the keys of the other node",
  });
  t.equal(shared(one.keys, "10.0.0.2"), shared(two.keys, "10.0.0.1"));
  t.not(shared(one.keys, "10.0.0.1"), shared(one.keys, "10.0.0.2"));

  const three = start("n3", "10.0.0.3");
  await waitUntil(() => one.keys.peers.has("10.0.0.3") && three.keys.peers.has("10.0.0.1"), { what: "a third node" });
  t.equal(shared(one.keys, "10.0.0.3"), shared(three.keys, "10.0.0.1"));

  await waitUntil(() => lastGood.endpoints.length === 3, { what: "the keys of all nodes on the disk" });
  const down = new FaultyStore(store);
  down.cutOff();
  const alone = new AbortController();
  const again = start("n1", "10.0.0.1", { at: down, signal: alone.signal });
  await waitUntil(() => shared(again.keys, "10.0.0.2") === shared(one.keys, "10.0.0.2"), {
    what: "the keys of a start without the store",
  });
  t.equal(again.keys.areSettled, true, "nobody gets time to say who it is");
  alone.abort();
  await again.ended;

  await commit(GROUP + cluster("source"));
  await waitUntil(() => [one, two, three].every(({ keys }) => keys.peers.size === 0), { what: "the end of all keys" });
  stop.abort();
  await Promise.all([one, two, three].map(({ ended }) => ended));
});
