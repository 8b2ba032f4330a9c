/**
 * Management access: the connections that a machine is managed through, which a policy must not cut without consent:
 * ztap's own agent, and the SSH sessions that people have open.
 */

/** An SSH session in use, as seen on the machine that it leads to. */
export interface Session {
  /** Address of the other end, canonical text. */
  readonly peer: string;
  /** Address of this end, canonical text; absent if it is not known. */
  readonly address?: string;
  /** The local port. */
  readonly port: number;
  /**
   * Cgroups, below the cgroup v2 root, whose policy may decide about its packets. The kernel decides about a connection
   * by the cgroup of the socket that listened for it, and the processes of the session are often in another one.
   */
  readonly cgroups: readonly string[];
}

/** A host and port where agents reach their store or their source. */
export interface ControlEndpoint {
  readonly role: "store" | "source";
  /** A name or an address. */
  readonly host: string;
  readonly port: number;
}

export function describeEndpoint({ role, host, port }: ControlEndpoint): string {
  return `the ${role} at ${host}:${port}`;
}

/** A process of this machine that serves the agents' store or source. */
export interface ControlServer {
  readonly role: ControlEndpoint["role"];
  readonly port: number;
  /** The cgroups of the processes that hold the listening socket; see `Session`. */
  readonly cgroups: readonly string[];
}

/** What a node may report of its servers: each is evaluated for every declared node. */
export const MOST_SERVERS = 16;
export const MOST_SERVER_CGROUPS = 64;

/** The result of a search through the processes of a machine. */
export interface SearchResult<T> {
  readonly items: readonly T[];
  /** False if the search had to end before it had read every process that it wanted to. */
  readonly isComplete: boolean;
}

/** A connection that a machine needs so that it can be managed, and that policy on the host itself could cut. */
export interface NeededConnection {
  /** "name resolution at 192.0.2.53" */
  readonly purpose: string;
  readonly direction: "ingress" | "egress";
  readonly protocol: "TCP" | "UDP";
  readonly port: number;
  /**
   * Addresses and CIDRs of the other end, all of which must be allowed; `some`: one of them all suffices, whichever it is;
   * `unknown`: they could not be found out, so that everything must be allowed.
   */
  readonly peers: readonly string[] | "some" | "unknown";
  /** A sentence: why they are not known. */
  readonly reason?: string;
  /** The cgroups of the processes that need it; null if that is the agent. Empty if they are not known: then it is the host's. */
  readonly cgroups: readonly string[] | null;
  /** The cgroups of the processes of this machine that are the other end; absent if it is another machine. */
  readonly servedBy?: readonly string[];
}

export interface ManagementAccess {
  /** The agent's cgroup below the cgroup v2 root, empty for the root itself; null if the agent needs no protection. */
  readonly agent: string | null;
  readonly sessions: readonly Session[];
  readonly servers: readonly ControlServer[];
  /** Absent: not looked for, since no policy is on the host. */
  readonly needs?: readonly NeededConnection[];
}
