/** Reads a node's own management access, for its own rulesets and, by its report, for commits made elsewhere. */
import {
  MOST_SERVER_CGROUPS,
  MOST_SERVERS,
  type ControlServer,
  type ManagementAccess,
} from "../model/management-access.js";
import type { Ruleset } from "../model/ruleset.js";
import { INCOMPLETE_SEARCH } from "../policy/lockout.js";
import { isolatesHost } from "../policy/needed-connections.js";
import type { ManagementAccessReader } from "../interfaces/management-access.js";
import type { Clock } from "../interfaces/system.js";

/** The revision would cut off the agent or a session in use: not all of it is enforced. */
export class LockoutError extends Error {
  override readonly name = "LockoutError";
  readonly code = "lockout";

  /** @param isFollowed whether all of it is enforced that does not cut; otherwise none of it is */
  constructor(
    message: string,
    readonly isFollowed: boolean,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Finding the servers means looking through all processes. */
const SERVERS_VALID_MS = 60_000;

export class LockoutGuard {
  /** Whether the last search of each kind read all that it wanted to. */
  #isComplete = { sessions: true, servers: true };
  #servers: { readonly servers: readonly ControlServer[]; readonly at: number } | null = null;

  /** @param managementAccess null if lock-outs are allowed, or nothing is enforced */
  constructor(
    private readonly managementAccess: ManagementAccessReader | null,
    private readonly clock: Clock,
  ) {}

  /** Returns the connections that this ruleset may not cut; null if lock-outs are allowed. */
  async read(ruleset: Ruleset): Promise<ManagementAccess | null> {
    const { managementAccess } = this;
    if (managementAccess === null) return null;
    const [sessions, servers, needs] = await Promise.all([
      managementAccess.sessions(),
      managementAccess.servers(),
      isolatesHost(ruleset) ? managementAccess.needs() : [],
    ]);
    this.#isComplete = { sessions: sessions.isComplete, servers: servers.isComplete };
    return { agent: managementAccess.ownCgroup(), sessions: sessions.items, servers: servers.items, needs };
  }

  agentCgroup(): string | null {
    return this.managementAccess?.ownCgroup() ?? null;
  }

  /** Returns the reasons why this guard may overlook a connection; none if it sees all. */
  warnings(): readonly string[] {
    const problem = this.managementAccess?.problem() ?? null;
    const { sessions, servers } = this.#isComplete;
    return [...(problem === null ? [] : [problem]), ...(sessions && servers ? [] : [INCOMPLETE_SEARCH])];
  }

  /** Returns the parts of store and source on this machine, at most a minute old; none if they cannot be read. */
  async servers(): Promise<readonly ControlServer[]> {
    const known = this.#servers;
    if (this.managementAccess === null) return [];
    if (known !== null && this.clock.monotonic() - known.at < SERVERS_VALID_MS) return known.servers;
    const found = await this.managementAccess.servers().catch(() => ({ items: [], isComplete: true }));
    this.#isComplete = { ...this.#isComplete, servers: found.isComplete };
    const servers = found.items
      .slice(0, MOST_SERVERS)
      .map((server) => ({ ...server, cgroups: server.cgroups.slice(0, MOST_SERVER_CGROUPS) }));
    this.#servers = { servers, at: this.clock.monotonic() };
    return servers;
  }
}
