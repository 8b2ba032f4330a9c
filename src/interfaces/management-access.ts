/**
 * ManagementAccessReader: reads the connections that this machine is managed through right now.
 *
 * Guarantees: everything it returns existed at some moment of the call. In doubt it assigns a session one cgroup too
 * many rather than one too few. It does not see sessions and servers in network namespaces other than this process's.
 */
import type { ControlServer, Session } from "../model/management-access.js";

export interface ManagementAccessReader {
  /**
   * Returns this process's cgroup below the cgroup v2 root, empty for the root itself; null if there is no such
   * hierarchy.
   */
  ownCgroup(): string | null;
  /** Returns SSH sessions in use: connections made to this machine. */
  sessions(): Promise<readonly Session[]>;
  /** Returns the parts of this agent's store and source that run on this machine. */
  servers(): Promise<readonly ControlServer[]>;
}
