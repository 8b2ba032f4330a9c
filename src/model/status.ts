/** The status that nodes report: heartbeat, attempted and enforced revision, drift. */
import type { ControlServer } from "./management-access.js";
import type { ShadowReport } from "./shadow.js";
import type { WithheldWorkload } from "./withholding.js";

export type DriftKind = "missing" | "extra" | "changed" | "detached";

/** A difference between the ruleset that a node must enforce and the state that its kernel really holds. */
export interface DriftItem {
  readonly kind: DriftKind;
  /** One line for people. */
  readonly detail: string;
  /** The workload that it concerns, `namespace/name`; absent: the whole node. */
  readonly workload?: string;
  /** The policies that it concerns, `namespace/name`; absent: all policies of the workload or of the node. */
  readonly policies?: readonly string[];
}

export interface SubjectStatus {
  readonly workload: string;
  /**
   * `Enforced`: its programs are attached, and its records were read back and are right. `Pending`: its cgroup does not
   * exist yet. `Stalled`: it cannot be enforced, or a part of it is missing. `message` gives the reason.
   */
  readonly state: "Enforced" | "Pending" | "Stalled";
  readonly message?: string;
  /**
   * Identity of its cgroup: another value for a cgroup that was created again under the same path. Absent: it has no
   * cgroup, or the backend has none.
   */
  readonly place?: string;
}

/** The status of a node, written by its agent after each reconciliation. Attempted is not applied. */
export interface NodeStatus {
  readonly node: string;
  /**
   * Identifies the machine and its boot, so that a command can see whether it runs on the same machine as this agent;
   * absent if that is not known.
   */
  readonly boot?: string;
  /** The agent's own cgroup, which no workload may have or contain; absent if that is allowed or there is none. */
  readonly agentCgroup?: string;
  /** Parts of the agents' store and source that run on this machine; absent if there are none. */
  readonly servers?: readonly ControlServer[];
  /** Reasons why this node may cut off management access that it does not see; absent if there are none. */
  readonly warnings?: readonly string[];
  readonly backend: string;
  readonly attemptedRevision: number | null;
  /** The last revision that was in force as a whole. */
  readonly enforcedRevision: number | null;
  /** Digest of the ruleset that is enforced. */
  readonly rulesetDigest: string | null;
  readonly state: "InSync" | "Drifted" | "Stalled";
  /** The reason for `Stalled`, or the last repair. */
  readonly message: string | null;
  readonly drift: readonly DriftItem[];
  /** How many drift items were healed since the agent started. */
  readonly healed: number;
  readonly subjects: readonly SubjectStatus[];
  /** The revision that is in force except for these workloads; absent if a whole revision is in force. */
  readonly withheld?: { readonly revision: number; readonly workloads: readonly WithheldWorkload[] };
  /** The revision that the node waits for, compared with live traffic; absent: none is compared. */
  readonly shadow?: ShadowReport;
  /** RFC 3339, UTC. */
  readonly observedAt: string;
}

/** A member: declared by `cluster join`, or by its agent at start. */
export interface Member {
  readonly id: string;
  readonly address: string;
  readonly joinedAt: string;
}

/** A heartbeat; it exists only as long as its lease. */
export interface Heartbeat {
  readonly id: string;
  readonly address: string;
  readonly lastSeen: string;
  /** False once the lease has run out; the record is kept so that `lastSeen` can be shown. */
  readonly alive: boolean;
}

/** A server of the store, as it reports itself. */
export interface StoreHealth {
  readonly endpoint: string;
  /** The size of its database on disk; null if it did not answer. */
  readonly databaseBytes: number | null;
  /** The part of it that holds data: a defragmentation returns the rest. Null if it did not answer. */
  readonly usedBytes: number | null;
  /** The size at which it accepts no more data; null if it does not report that. */
  readonly quotaBytes: number | null;
  /** Alarms of all servers, as it knows them: `NOSPACE`, `CORRUPT`. */
  readonly alarms: readonly string[];
  /** The reason why it did not answer; null if it did. */
  readonly problem: string | null;
}

/** A commit without a signature from an allowed signer. */
export interface Unverified {
  readonly commit: string;
  /** The author that the commit claims; nothing has verified it. */
  readonly author: string;
  /** The problem, for people. */
  readonly problem: string;
}

/** The result of the leader's last poll of the source. */
export interface SourceStatus {
  readonly location: string;
  /** Branch or other ref; null for the remote's HEAD. */
  readonly ref: string | null;
  /** Folder within the repository; null for all of it. */
  readonly path: string | null;
  /** The commit that the last poll saw at the tip of the branch. */
  readonly observedCommit: string | null;
  /** The commit that was last accepted: it was committed, or it changed nothing. */
  readonly acceptedCommit: string | null;
  /** The revision with the content of the accepted commit; absent before the first. */
  readonly acceptedRevision?: number;
  /**
   * `OutOfSync`: head was committed over the state in Git, and the leader does not restore it (`source.selfHeal:
   * false`).
   */
  readonly state: "Synced" | "OutOfSync" | "Rejected" | "Unreachable" | "Held";
  readonly message: string | null;
  readonly diagnostics: readonly {
    readonly code: string;
    readonly file: string;
    readonly line: number;
    readonly column: number;
    readonly message: string;
  }[];
  /** The commit that stops the source, if signatures are required. */
  readonly unverified?: Unverified;
  /** How the observed commit exceeds what is read of a source; no leader reads it again. Absent if it does not. */
  readonly tooLarge?: string;
  /** The commit that was accepted before, if the observed one is no descendant of it: history was rewritten. */
  readonly rewrittenFrom?: string;
  readonly checkedAt: string;
  readonly leader: string;
}
