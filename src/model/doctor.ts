/** The result of one check of the machine: something that ztap needs. */
export interface Check {
  readonly name: string;
  /** `failed`: something does not work without it; `warning`: ztap works, but with less. */
  readonly state: "ok" | "warning" | "failed";
  /** The facts that were found. */
  readonly detail: string;
  /** The action that solves it; null if no action is needed. */
  readonly fix: string | null;
}
