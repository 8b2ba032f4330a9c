/** What operators told whoever leads. It stands in the store, so that it outlives each leader. */

/** The source is not followed: its leader commits nothing from it. Agents go on enforcing and healing. */
export interface Suspension {
  /** Who: `user@host`. */
  readonly by: string;
  readonly reason: string;
  /** RFC 3339, UTC. */
  readonly since: string;
  /** When it ends by itself, RFC 3339, UTC; null for not before it is ended. */
  readonly until: string | null;
}

/** Somebody has looked at this one commit and wants what it does, mass deletion and rewritten history included. */
export interface Approval {
  /** Full commit id: what is pushed later is not approved by it. */
  readonly commit: string;
  readonly by: string;
  readonly reason: string;
  /** RFC 3339, UTC. */
  readonly time: string;
}

export interface SourceControl {
  readonly suspension: Suspension | null;
  /** The last one; one that was given later replaces it. */
  readonly approval: Approval | null;
}
