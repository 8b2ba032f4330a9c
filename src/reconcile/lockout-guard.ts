/**
 * Finds the workloads whose policy would cut this node's own management access, and reports this access for commits made
 * elsewhere.
 */
import type { ControlServer } from "../model/management-access.js";
import { findLockouts, type Lockout } from "../policy/lockout.js";
import type { ManagementAccessReader } from "../interfaces/management-access.js";
import type { Clock } from "../interfaces/system.js";
import type { Target } from "./target.js";

/** Policies of some workloads would cut off the agent or a session in use: they are not enforced, all others are. */
export class LockoutError extends Error {
  override readonly name = "LockoutError";
  readonly code = "lockout";

  /** @param isFollowed whether the other workloads follow the revision */
  constructor(
    found: readonly Lockout[],
    readonly isFollowed: boolean,
  ) {
    super(describeLockouts(found));
  }
}

export function describeLockouts(found: readonly Lockout[]): string {
  const messages = found.map(({ message }) => message).join("; ");
  const workloads = [...new Set(found.map(({ workload }) => workload))].join(", ");
  return `not enforced for ${workloads}, since it would lock out: ${messages}; allowLockout lets it`;
}

/** Finding the servers means looking through all processes. */
const SERVERS_VALID_MS = 60_000;

export class LockoutGuard {
  #servers: { readonly servers: readonly ControlServer[]; readonly at: number } | null = null;

  /** @param managementAccess null if lock-outs are allowed, or nothing is enforced */
  constructor(
    private readonly managementAccess: ManagementAccessReader | null,
    private readonly clock: Clock,
  ) {}

  async find({ ruleset, clients }: Target): Promise<readonly Lockout[]> {
    const { managementAccess } = this;
    if (managementAccess === null) return [];
    const [sessions, servers] = await Promise.all([managementAccess.sessions(), managementAccess.servers()]);
    return findLockouts(ruleset, { agent: managementAccess.ownCgroup(), sessions, servers }, clients);
  }

  agentCgroup(): string | null {
    return this.managementAccess?.ownCgroup() ?? null;
  }

  /** Returns the parts of store and source on this machine, at most a minute old; none if they cannot be read. */
  async servers(): Promise<readonly ControlServer[]> {
    const known = this.#servers;
    if (this.managementAccess === null) return [];
    if (known !== null && this.clock.monotonic() - known.at < SERVERS_VALID_MS) return known.servers;
    const servers = await this.managementAccess.servers().catch(() => []);
    this.#servers = { servers, at: this.clock.monotonic() };
    return servers;
  }
}
