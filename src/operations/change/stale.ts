/** Returns the refusal of a plan whose base is no longer head. */
import { OperationError } from "../../model/operation-error.js";

export function stalePlan(base: number | null, head: number | null): OperationError {
  const name = (revision: number | null) => (revision === null ? "an empty store" : `revision ${revision}`);
  return new OperationError(
    "stale-plan",
    `the plan was made against ${name(base)}, but head is ${name(head)}; plan again`,
  );
}
