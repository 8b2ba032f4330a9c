/** One thing that ztap needs of a machine, looked at. */
export interface Check {
  readonly name: string;
  /** `failed`: something does not work without it; `warning`: works, with less. */
  readonly state: "ok" | "warning" | "failed";
  /** What was found. */
  readonly detail: string;
  /** What to do about it; null where nothing is to be done. */
  readonly fix: string | null;
}
