/** What a node saw while it evaluated live traffic by a revision that is not in force there yet. */
import type { Direction } from "./ruleset.js";

/** One rule, or the lack of one, that decides otherwise than what is in force. */
export interface ShadowDifference {
  /** `denied`: the coming revision denies what is in force allowed; `allowed`: the other way round. */
  readonly effect: "denied" | "allowed";
  readonly direction: Direction;
  /** `namespace/name`. */
  readonly workload: string;
  /**
   * The rule that decides, as flows name it. `denied`: the rule of the coming revision that denies; without one, the rule in force that
   * allows; where nothing isolates now, the policy of the coming revision that will. `allowed`: the rule of the coming revision that allows;
   * without one, the rule in force that denies, or the policy in force that isolates. Null if none is known any more.
   */
  readonly policy: string | null;
  readonly file: string | null;
  readonly line: number | null;
  /** First packets, and refused calls, since the shadow began. */
  readonly count: number;
}

export interface ShadowReport {
  readonly revision: number;
  readonly commitId: string;
  /** RFC 3339, UTC: since then the coming revision is evaluated. */
  readonly since: string;
  /** First packets, and refused calls, that were evaluated by both. */
  readonly judged: number;
  readonly newDenials: number;
  readonly newAllows: number;
  /** The most frequent first; at most 20. */
  readonly differences: readonly ShadowDifference[];
}
