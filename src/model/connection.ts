/**
 * Connection: the protocols and ports that one end may open to another, as `ztap connectivity` and the plan list it.
 */

/**
 * `*`: every IP protocol and port. `other`: every IP protocol except these four; it occurs only in a plan that removes
 * some protocols from a connection that was unrestricted.
 */
export const CONNECTION_PROTOCOLS = ["TCP", "UDP", "SCTP", "ICMP", "other"] as const;
export type ConnectionProtocol = "*" | (typeof CONNECTION_PROTOCOLS)[number];

/** First and last, both inclusive. For ICMP a "port" is `type << 8 | code`. */
export type PortInterval = readonly [first: number, last: number];

export interface Connection {
  /** `namespace/workload`, or a CIDR: all addresses in it that no workload has. */
  readonly from: string;
  readonly to: string;
  readonly protocol: ConnectionProtocol;
  /** Disjoint, ascending, never adjacent, never empty; `[[0, 65535]]` for `*` and `other`. */
  readonly ports: readonly PortInterval[];
  /**
   * The NetworkSets, of those that rules of the other end name, that hold addresses of the CIDR; sorted. Absent: none.
   */
  readonly networkSets?: readonly string[];
  /**
   * Only if no rule means the connection: the ends whose address is allowed because they share it with workloads that the
   * rules name.
   */
  readonly sharing?: readonly SharedEnd[];
}

/** Yields the connections with an end in the namespace; without one, all. */
export function* ofNamespace(connections: Iterable<Connection>, namespace: string | undefined): Generator<Connection> {
  const prefix = `${namespace ?? ""}/`;
  for (const connection of connections) {
    const { from, to } = connection;
    if (namespace === undefined || from.startsWith(prefix) || to.startsWith(prefix)) yield connection;
  }
}

/** One end of a connection whose address is allowed, and not itself. */
export interface SharedEnd {
  readonly workload: string;
  /** The workloads that the rules name and that have its address, sorted. */
  readonly with: readonly string[];
}
