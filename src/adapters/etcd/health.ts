/** Health: the alarms of etcd, and the sizes of its members' databases against their quotas. */
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { text } from "node:stream/consumers";
import type { StoreHealth } from "../../model/status.js";
import { StoreError } from "../../interfaces/store.js";
import type { EtcdClient, EtcdOptions } from "./client.js";

/** Asks members one by one. One that does not answer is reported, and hides no other. */
export function readHealth(client: EtcdClient, endpoints: readonly string[]): Promise<readonly StoreHealth[]> {
  return Promise.all(endpoints.map((endpoint) => healthOf(client, endpoint)));
}

async function healthOf(client: EtcdClient, endpoint: string): Promise<StoreHealth> {
  const [status, quotaBytes] = await Promise.all([
    client
      .ask(endpoint, (etcd, options) => etcd.maintenance.status(options))
      .catch((error: unknown) => {
        if (error instanceof StoreError) return error;
        throw error;
      }),
    readQuota(client, endpoint),
  ]);
  if (status instanceof StoreError)
    return { endpoint, databaseBytes: null, usedBytes: null, quotaBytes, alarms: [], problem: status.message };
  return {
    endpoint,
    databaseBytes: Number(status.dbSize),
    usedBytes: Number(status.dbSizeInUse),
    quotaBytes,
    alarms: alarmsIn(status.errors),
    problem: null,
  };
}

/** Every member knows the alarms of all: "memberID:10276657743932975437 alarm:NOSPACE ". */
function alarmsIn(errors: readonly string[]): readonly string[] {
  const names = errors.flatMap((error) => /\balarm:\s*([A-Z]+)/.exec(error)?.[1] ?? []);
  return [...new Set(names)].sort();
}

const QUOTA = /^etcd_server_quota_backend_bytes (\S+)$/m;
/** A page of etcd's metrics has about 100 KB. */
const MAX_PAGE_BYTES = 4 * 1024 * 1024;

/**
 * Returns a member's quota from its metrics, since etcd before 3.6 has no call that returns it; null if the member does not
 * serve them to this client.
 */
async function readQuota({ tls, options }: EtcdClient, endpoint: string): Promise<number | null> {
  try {
    const quota = Number(QUOTA.exec(await readPage(`${endpoint}/metrics`, tls, options.timeoutMs))?.[1]);
    return Number.isFinite(quota) && quota > 0 ? quota : null;
  } catch {
    return null;
  }
}

function readPage(path: string, tls: EtcdOptions["tls"], timeoutMs: number): Promise<string> {
  const signal = AbortSignal.timeout(timeoutMs);
  const secrets = Object.entries(tls ?? {}).filter(([, value]) => value !== null);
  return new Promise((resolve, reject) => {
    const asked =
      tls === null
        ? requestHttp(`http://${path}`, { signal, agent: false })
        : requestHttps(`https://${path}`, { signal, agent: false, ...Object.fromEntries(secrets) });
    asked.once("error", reject).once("response", (response) => {
      let bytes = 0;
      response.on("data", ({ length }: Buffer) => {
        bytes += length;
        if (bytes > MAX_PAGE_BYTES) response.destroy(new Error("the page is too long"));
      });
      text(response).then(resolve, reject);
    });
    asked.end();
  });
}
