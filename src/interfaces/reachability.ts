/** Reachability: whether this machine reaches what its agent works with, by a new connection to each. */
import type { ControlEndpoint } from "../model/management-access.js";

export interface Reachability {
  /**
   * Tries a new connection to each. Takes some seconds at most, and never rejects.
   * @returns the endpoints that were reached; none that stands on this machine's own disk
   */
  reached(): Promise<readonly ControlEndpoint[]>;
}
