/** What a node saw while it judged live traffic by a revision that is not in force there yet. */

/** One rule, or the lack of one, that decides otherwise than what is in force. */
export interface ShadowDifference {
  /** `denied`: the coming revision denies what is in force allowed; `allowed`: the other way round. */
  readonly effect: "denied" | "allowed";
  readonly direction: "ingress" | "egress";
  /** `namespace/name`. */
  readonly workload: string;
  /** The rule that decides: of the coming revision where it allows, of the one in force where that allows; `policy`, `file` and `line` as flows name it. */
  readonly policy: string | null;
  readonly file: string | null;
  readonly line: number | null;
  /** First packets since the shadow began. */
  readonly count: number;
}

export interface ShadowReport {
  readonly revision: number;
  readonly commitId: string;
  /** RFC 3339, UTC: since then the coming revision is judged by. */
  readonly since: string;
  /** First packets that were judged by both. */
  readonly judged: number;
  readonly newDenials: number;
  readonly newAllows: number;
  /** The most frequent first; at most 20. */
  readonly differences: readonly ShadowDifference[];
}
