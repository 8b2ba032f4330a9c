import type { Problem } from "../problem.js";

/** A problem of one object that shows only in the whole state. */
export interface ObjectProblem {
  /** `refKey` of the object that it is reported at. */
  readonly key: string;
  readonly problem: Problem;
}
