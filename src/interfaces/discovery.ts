/**
 * ProcessDiscovery: finds the processes of workloads on this machine: units of systemd, containers, cgroups.
 *
 * Guarantees, held by test/contract/discovery.ts:
 *  - each cgroup that exists throughout a call and matches a wanted pattern is returned, once for each workload, and nothing
 *    else is;
 *  - instances are named as src/inventory/process.ts (`refuseClaim`) demands; they come sorted by workload and name, so that
 *    the same machine gives the same result;
 *  - a part of the machine that cannot be read, such as a container runtime that does not answer, is a problem in words, and
 *    hides nothing of the others;
 *  - ports are those on which an instance listens for others, if they are asked for and this machine can tell;
 *  - addresses are those that the host itself gave: what the processes of a container add in their network namespace does not
 *    count, since others open their policies to these addresses. Processes in a network namespace of their own to which the
 *    host gave no address have a loopback address: it opens nothing, while none at all would stand for the node's own.
 */
import type { ReportedInstance } from "../model/endpoints.js";
import type { ProcessPattern } from "../model/objects.js";

/** The processes of one workload that runs on this machine. */
export interface WantedProcesses {
  /** `namespace/name`. */
  readonly workload: string;
  readonly pattern: ProcessPattern;
  /** Git does not declare its ports: those that it listens on are reported. */
  readonly needsPorts?: true;
}

export interface FoundProcesses {
  /** Operating system, as in the label `kubernetes.io/os`. */
  readonly os: string;
  /** The machine's own unicast addresses, without loopback and link-local ones; canonical text, sorted. */
  readonly addresses: readonly string[];
  readonly instances: readonly ReportedInstance[];
  /** What could not be read; empty if all could. */
  readonly problems: readonly string[];
  /** What newborn cgroups are not, as far as this was found out; absent: nothing was. */
  readonly newborns?: IdentifiedNewborns;
}

export interface IdentifiedNewborns {
  /** The IDs, of those asked about, of containers that are no wanted workload's. */
  readonly strangers: readonly string[];
  /** All cgroups that units and paths match were found. */
  readonly isTreeRead: boolean;
}

export interface ProcessDiscovery {
  /** Operating system, as in the label `kubernetes.io/os`. */
  readonly os: string;
  /**
   * @param newborns IDs of containers whose cgroups were made, and of which nothing else is known; also of some that do not run yet
   */
  discover(wanted: readonly WantedProcesses[], newborns?: readonly string[]): Promise<FoundProcesses>;
  /**
   * Yields when `discover` may return something else: a cgroup, a container or an address came or went. Only a wake-up;
   * several changes may give one. The first one comes at once. Ends when the signal aborts.
   */
  watch(signal: AbortSignal): AsyncIterable<unknown>;
}
