/** A revision that this node has not confirmed yet, or that it went back from; kept on its own disk. */
import type { ControlEndpoint } from "./management-access.js";

interface TriedRevision {
  readonly revision: number;
  /** As in Revision: a store that was restored from a backup assigns the same numbers again. */
  readonly commitId: string;
}

/** It is in force, and ends unless the node confirms it in time. */
export interface RunningTrial extends TriedRevision {
  readonly state: "running";
  /** RFC 3339, UTC. */
  readonly until: string;
  /** The boot of this machine in which it began; null if that is not known. */
  readonly boot: string | null;
  /** What was reached before: all of it must be reached again. */
  readonly reached: readonly ControlEndpoint[];
}

/** The node went back from it, and does not take it again. */
export interface RevertedTrial extends TriedRevision {
  readonly state: "reverted";
  /** A clause without a full stop, for people. */
  readonly reason: string;
  /** RFC 3339, UTC. */
  readonly at: string;
}

export type TrialRecord = RunningTrial | RevertedTrial;
