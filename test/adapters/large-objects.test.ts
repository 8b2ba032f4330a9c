/** The largest NetworkSet in each store: etcd splits it, since a request may have 1.5 MiB. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Etcd3 } from "etcd3";
import t, { type Test } from "tap";
import { openEmbeddedStore } from "../../src/adapters/embedded/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { Store } from "../../src/interfaces/store.js";
import { SET_LIMIT } from "../../src/manifest/document/address.js";
import type { ZtapObject } from "../../src/model/objects.js";
import { canonicalJson } from "../../src/model/digest.js";
import { refKey, refOf } from "../../src/model/state.js";
import { withEtcd, whyNoEtcd } from "../etcd/server.js";
import { openStore } from "../etcd/stores.js";
import { draft } from "../fakes/objects.js";
import { SeededRandom } from "../fakes/random.js";

/** Addresses that no compression shortens much: the longest texts that a set may have. */
function largestSet(seed: number): ZtapObject {
  const random = new SeededRandom(seed);
  const group = () => random.below(0x10000).toString(16).padStart(4, "f");
  const cidrs = Array.from({ length: SET_LIMIT }, () => `${Array.from({ length: 8 }, group).join(":")}/128`).sort();
  return { apiVersion: "ztap/v1", kind: "NetworkSet", metadata: { name: "big" }, spec: { cidrs } };
}

async function keepsIt(t: Test, store: Store): Promise<void> {
  for (const seed of [1, 2]) {
    const wanted = largestSet(seed);
    const expectHead = await store.readHead();
    const outcome = await store.commit(draft([wanted]), { expectHead, fence: null });
    t.match(outcome, { outcome: "committed" });
    const { objects } = await store.readState((expectHead ?? 0) + 1);
    t.ok(canonicalJson(objects.get(refKey(refOf(wanted)))?.object) === canonicalJson(wanted), `set ${seed}`);
  }
}

const why = whyNoEtcd();
t.test("etcd", why === null ? {} : { skip: why }, (t) =>
  withEtcd({}, async ({ endpoints }) => {
    await keepsIt(t, openStore(t, endpoints));
    const hosts = endpoints.map((endpoint) => `http://${endpoint}`);
    const client = new Etcd3({ hosts, grpcOptions: { "grpc.max_receive_message_length": -1 } });
    const values = Object.values(await client.getAll().buffers());
    client.close();
    t.ok(values.length > 6, "a set is stored in parts");
    t.ok(
      values.every(({ length }) => length < 1024 * 1024),
      "and no value exceeds a request",
    );
  }),
);

t.test("SQLite", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "ztap-large-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const store = await openEmbeddedStore({ path: join(folder, "store"), access: "write" }, systemClock);
  await keepsIt(t, store);
  await store.close();
});
