/**
 * Lifeline: what a machine is ruled through, and what a policy therefore must not cut unasked: ztap's own
 * agent, and sessions that people have open on it.
 */

/** An SSH session in use, as the machine that it leads to sees it. */
export interface Session {
  /** Address of the other end, canonical text. */
  readonly peer: string;
  /** The local port. */
  readonly port: number;
  /**
   * Cgroups, below the cgroup v2 root, whose policy may judge its packets. The kernel judges a connection by
   * the cgroup of the socket that listened for it, and the processes of the session are often in another.
   */
  readonly cgroups: readonly string[];
}

/** Where agents reach their store or their source. */
export interface ControlEndpoint {
  readonly role: "store" | "source";
  /** A name or an address. */
  readonly host: string;
  readonly port: number;
}

/** A process of this machine that serves the agents' store or source. */
export interface ControlServer {
  readonly role: ControlEndpoint["role"];
  readonly port: number;
  /** As of a session: of whoever holds the listening socket. */
  readonly cgroups: readonly string[];
}

export interface ManagementAccess {
  /** The agent's cgroup below the cgroup v2 root, empty for the root itself; null where there is none to mind. */
  readonly agent: string | null;
  readonly sessions: readonly Session[];
  readonly servers: readonly ControlServer[];
}
