/**
 * Source control: the decisions of operators for the leader. The store keeps them, so that they outlive each leader.
 */

/** The source is suspended: the leader commits nothing from it. Agents go on enforcing and healing. */
export interface Suspension {
  /** The operator, `user@host`. */
  readonly by: string;
  readonly reason: string;
  /** RFC 3339, UTC. */
  readonly since: string;
  /** The time when the suspension ends by itself, RFC 3339, UTC; null if only an operator ends it. */
  readonly until: string | null;
}

/** An operator has reviewed this commit and accepts its effect, including mass deletion and rewritten history. */
export interface Approval {
  /** Full commit id: the approval does not cover later commits. */
  readonly commit: string;
  readonly by: string;
  readonly reason: string;
  /** RFC 3339, UTC. */
  readonly time: string;
}

export interface SourceControl {
  readonly suspension: Suspension | null;
  /** The last approval; a new one replaces it. */
  readonly approval: Approval | null;
}
