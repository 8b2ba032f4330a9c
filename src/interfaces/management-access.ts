/**
 * LifelineReader: what this machine is ruled through right now.
 *
 * Guarantees: what it tells was there at some moment of the call. A session is rather given one cgroup too
 * many than one too few. Sessions and servers in other network namespaces than this process's are not seen.
 */
import type { ControlServer, Session } from "../model/management-access.js";

export interface ManagementAccessReader {
  /** This process's cgroup below the cgroup v2 root, empty for the root itself; null where there is no such hierarchy. */
  ownCgroup(): string | null;
  /** SSH sessions in use: connections made to this machine. */
  sessions(): Promise<readonly Session[]>;
  /** Of the store and the source that this agent is configured with, what this machine itself serves. */
  servers(): Promise<readonly ControlServer[]>;
}
