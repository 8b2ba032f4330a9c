/**
 * ManagementAccessReader: reads the connections that this machine is managed through right now.
 *
 * Guarantees: everything it returns existed at some moment of the call. In doubt it assigns a session one cgroup too
 * many rather than one too few. A search ends after some seconds, with the sessions and servers found until then: no user
 * can delay policy for longer by what he starts or opens. It does not see sessions and servers in network namespaces other than this process's.
 */
import type { ControlServer, NeededConnection, SearchResult, Session } from "../model/management-access.js";

export interface ManagementAccessReader {
  /**
   * Returns this process's cgroup below the cgroup v2 root, empty for the root itself; null if there is no such
   * hierarchy, or it does not contain this process, or that is not known: see `problem`.
   */
  ownCgroup(): string | null;
  /** Says why cgroups of processes cannot be found out, and what to do; null if they can. */
  problem(): string | null;
  /** Returns SSH sessions in use: connections made to this machine. */
  sessions(): Promise<SearchResult<Session>>;
  /** Returns the parts of this agent's store and source that run on this machine. */
  servers(): Promise<SearchResult<ControlServer>>;
  /**
   * Returns the connections that policy on the host itself must allow. What cannot be found out is among them, as unknown. Takes
   * some seconds at most.
   */
  needs(): Promise<readonly NeededConnection[]>;
}
