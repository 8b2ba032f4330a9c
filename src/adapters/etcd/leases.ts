/**
 * Leases: granted, renewed and revoked by plain calls. Nothing renews in the background: a process that stops renewing,
 * for any reason, loses its lease.
 */
import { EtcdLeaseInvalidError, EtcdWatchStreamEnded, castGrpcError } from "etcd3";
import type { ILeaseKeepAliveResponse, ILeaseTimeToLiveResponse } from "etcd3";
import type { EtcdClient } from "./client.js";

/**
 * Grants a lease.
 * @param ttlMs rounded up to whole seconds; etcd may grant more
 * @returns the lease's id
 */
export async function grantLease(client: EtcdClient, ttlMs: number): Promise<string> {
  const { ID } = await client.call((etcd, deadline) =>
    etcd.leaseClient.leaseGrant({ TTL: Math.ceil(ttlMs / 1000) }, deadline),
  );
  return ID;
}

/**
 * Renews a lease; returns false if it is gone.
 * @throws StoreError if the result is not known
 */
export async function renewLease(client: EtcdClient, id: string): Promise<boolean> {
  const { TTL } = await client.call(async (etcd, deadline) => {
    const stream = await etcd.leaseClient.leaseKeepAlive(deadline);
    try {
      return await new Promise<ILeaseKeepAliveResponse>((resolve, reject) => {
        stream.on("data", resolve);
        stream.on("error", (error) => reject(castGrpcError(error)));
        stream.on("end", () => reject(new EtcdWatchStreamEnded()));
        stream.write({ ID: id });
      });
    } finally {
      stream.end();
    }
  });
  return Number(TTL) > 0;
}

/** Ends the lease and removes its keys; a lease that is gone already counts as ended. */
export async function revokeLease(client: EtcdClient, id: string): Promise<void> {
  await client.call(async (etcd, deadline) => {
    try {
      await etcd.leaseClient.leaseRevoke({ ID: id }, deadline);
    } catch (error) {
      if (!(error instanceof EtcdLeaseInvalidError)) throw error;
    }
  });
}

/** Returns the milliseconds for which the lease was granted, at each renewal again; null for one that is gone. */
export async function grantedTtl(client: EtcdClient, id: string): Promise<number | null> {
  const { TTL, grantedTTL } = await timeToLive(client, id);
  return Number(TTL) < 0 ? null : Number(grantedTTL) * 1000;
}

/** Returns the milliseconds since the lease was last granted or renewed, to the second; null for one that is gone. */
export async function leaseAge(client: EtcdClient, id: string): Promise<number | null> {
  const { TTL, grantedTTL } = await timeToLive(client, id);
  return Number(TTL) < 0 ? null : (Number(grantedTTL) - Number(TTL)) * 1000;
}

function timeToLive(client: EtcdClient, id: string): Promise<ILeaseTimeToLiveResponse> {
  return client.call((etcd, deadline) => etcd.leaseClient.leaseTimeToLive({ ID: id }, deadline));
}
