/**
 * Leases by the wall clock of one machine: who holds what, since when, for how long. Pure.
 */

export interface Lease {
  readonly holder: string;
  /** When it was last claimed or renewed; milliseconds since 1970. */
  readonly renewedAt: number;
  readonly ttlMs: number;
}

/**
 * A lease lives for `ttlMs` after its last renewal. One whose renewal lies further in the future
 * than that is dead too: the clock was set back, and its holder would otherwise stay for as long.
 */
export function isAlive(lease: Lease, now: number): boolean {
  const age = now - lease.renewedAt;
  return age < lease.ttlMs && age > -lease.ttlMs;
}
