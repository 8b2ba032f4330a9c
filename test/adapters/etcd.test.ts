import { Etcd3 } from "etcd3";
import t from "tap";
import { openEtcdStore } from "../../src/adapters/etcd/store.js";
import { systemClock } from "../../src/adapters/system/clock.js";
import type { Store } from "../../src/interfaces/store.js";
import type { LeaseTime } from "../contract/bench.js";
import { storeContract } from "../contract/store.js";
import { withEtcd, whyNoEtcd, type EtcdCluster } from "../etcd/server.js";
import { waitUntil } from "../wait.js";

/** etcd grants no lease shorter than one and a half of its election time-outs. */
const QUICK = ["--heartbeat-interval=10", "--election-timeout=100"];
const TTL_MS = 2000;

const why = whyNoEtcd();
if (why !== null) await t.test("store: etcd", { skip: why }, () => undefined);
else await withEtcd({ flags: QUICK }, contract);

async function contract({ endpoints }: EtcdCluster): Promise<void> {
  const raw = new Etcd3({ hosts: endpoints.map((endpoint) => `http://${endpoint}`) });
  let next = 0;
  const open = (prefix: string): Store =>
    openEtcdStore({ endpoints, prefix, tls: null, auth: null, timeoutMs: 5000 }, systemClock, 0);
  await storeContract("etcd", async (test) => {
    const prefix = `case-${(next += 1)}/`;
    await test({
      store: open(prefix),
      time: leaseTime(raw),
      open: async () => open(prefix),
      damage: async (key, value) => {
        if (value === null) await raw.delete().key(prefix + key);
        else await raw.put(prefix + key).value(value);
      },
    });
  });
  raw.close();
}

function leaseTime(raw: Etcd3): LeaseTime {
  const remaining = async (id: string): Promise<number> => {
    const { TTL, grantedTTL } = await raw.leaseClient.leaseTimeToLive({ ID: id });
    return Number(grantedTTL) * 1000 <= TTL_MS ? Number(TTL) : -1;
  };
  return {
    ttlMs: TTL_MS,
    nearly: () => systemClock.sleep(TTL_MS / 2),
    expire: async () => {
      const { leases } = await raw.leaseClient.leaseLeases();
      for (const { ID } of leases)
        await waitUntil(() => remaining(ID), { is: (seconds) => seconds < 0, what: "the end of the lease" });
    },
  };
}
