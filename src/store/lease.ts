/** Leases by the wall clock of one machine: holder, time of the last renewal, and duration. Pure. */

export interface Lease {
  readonly holder: string;
  /** When it was last claimed or renewed; milliseconds since 1970. */
  readonly renewedAt: number;
  readonly ttlMs: number;
}

/**
 * Returns whether a lease is alive: for `ttlMs` after its last renewal. A lease whose renewal is further in the future
 * than that is dead too: the clock was set back, and its holder would otherwise stay for that long.
 */
export function isAlive(lease: Lease, now: number): boolean {
  const age = now - lease.renewedAt;
  return age < lease.ttlMs && age > -lease.ttlMs;
}
