/** What nodes say of themselves: heartbeat, attempted and enforced revision, drift. */
import type { ControlServer } from "./management-access.js";

export type DriftKind = "missing" | "extra" | "changed" | "detached";

/** A difference between what a node must enforce and what its kernel really holds. */
export interface DriftItem {
  readonly kind: DriftKind;
  /** One line for people. */
  readonly detail: string;
  /** The workload it concerns, `namespace/name`; absent: all of the node. */
  readonly workload?: string;
  /** The policies that it concerns, `namespace/name`; absent: all policies of the workload or of the node. */
  readonly policies?: readonly string[];
}

export interface SubjectStatus {
  readonly workload: string;
  /**
   * `Enforced`: its programs are attached and its records are right, as they were read back; `Pending`: its
   * cgroup does not exist yet; `Stalled`: it cannot be enforced, or something of it is missing. `message` says why.
   */
  readonly state: "Enforced" | "Pending" | "Stalled";
  readonly message?: string;
  /** Which cgroup it has: another word for one that was made anew under the same path. Absent: none, or the backend knows none. */
  readonly place?: string;
}

/** Written by a node's agent after each reconciliation. Attempted is not applied. */
export interface NodeStatus {
  readonly node: string;
  /** Names the machine and its boot, so that a command can tell whether it runs beside this agent; absent where that is not known. */
  readonly boot?: string;
  /** The agent's own cgroup, which no workload may have or hold; absent where that is allowed or there is none. */
  readonly agentCgroup?: string;
  /** What of the agents' store and source is served on this machine; absent for nothing. */
  readonly servers?: readonly ControlServer[];
  readonly backend: string;
  readonly attemptedRevision: number | null;
  readonly enforcedRevision: number | null;
  /** Digest of the ruleset that is enforced. */
  readonly rulesetDigest: string | null;
  readonly state: "InSync" | "Drifted" | "Stalled";
  /** Why it is Stalled, or what was last healed. */
  readonly message: string | null;
  readonly drift: readonly DriftItem[];
  /** How many drift items were healed since the agent started. */
  readonly healed: number;
  readonly subjects: readonly SubjectStatus[];
  /** RFC 3339, UTC. */
  readonly observedAt: string;
}

/** A member: declared by `cluster join`, or by the agent when it starts. */
export interface Member {
  readonly id: string;
  readonly address: string;
  readonly joinedAt: string;
}

/** A heartbeat: exists only while its lease does. */
export interface Heartbeat {
  readonly id: string;
  readonly address: string;
  readonly lastSeen: string;
  /** False once the lease has run out; the record is kept so that `lastSeen` can be shown. */
  readonly alive: boolean;
}

/** A commit that nobody who may has signed. */
export interface Unverified {
  readonly commit: string;
  /** As the commit says, which is nobody's word yet. */
  readonly author: string;
  /** What is wrong, for people. */
  readonly problem: string;
}

/** What the leader's poll of the source last found. */
export interface SourceStatus {
  readonly location: string;
  /** Branch or other ref; null for the remote's HEAD. */
  readonly ref: string | null;
  /** Folder within the repository; null for all of it. */
  readonly path: string | null;
  /** The commit that was last seen at the tip of the branch. */
  readonly observedCommit: string | null;
  /** The commit that was last accepted: committed, or found to change nothing. */
  readonly acceptedCommit: string | null;
  /** The revision that holds what the accepted commit says; absent before the first. */
  readonly acceptedRevision?: number;
  /** `OutOfSync`: head was committed over what Git says, and the leader leaves it so (`source.selfHeal: false`). */
  readonly state: "Synced" | "OutOfSync" | "Rejected" | "Unreachable" | "Held";
  readonly message: string | null;
  readonly diagnostics: readonly {
    readonly code: string;
    readonly file: string;
    readonly line: number;
    readonly column: number;
    readonly message: string;
  }[];
  /** The commit that stops the line, where signatures are asked for. */
  readonly unverified?: Unverified;
  /** The commit that was accepted before, where the observed one does not come after it: history was rewritten. */
  readonly rewrittenFrom?: string;
  readonly checkedAt: string;
  readonly leader: string;
}
