/** Reads the filter of `ztap flows`. */
import type { FlowQuery } from "../../model/flow.js";
import { isSubjectName } from "../../model/endpoints.js";
import { OperationError } from "../../model/operation-error.js";

/** @throws OperationError `usage` for a malformed workload name */
export function readFlowQuery(flags: {
  readonly follow: boolean;
  readonly verdict?: FlowQuery["verdict"] | undefined;
  readonly direction?: FlowQuery["direction"] | undefined;
  readonly workload?: string | undefined;
}): FlowQuery {
  const { follow, verdict = null, direction = null, workload } = flags;
  return { follow, verdict, direction, workload: workload === undefined ? null : readWorkload(workload) };
}

function readWorkload(text: string): string {
  if (text.includes("@")) {
    // An instance, by its whole name.
    if (isSubjectName(text)) return text;
    throw new OperationError("usage", `not the name of an instance: ${JSON.stringify(text)}`);
  }
  const [first = "", second, ...rest] = text.split("/");
  if (first === "" || second === "" || rest.length > 0)
    throw new OperationError(
      "usage",
      `not the name of a workload: ${JSON.stringify(text)}; write NAME or NAMESPACE/NAME`,
    );
  return second === undefined ? `default/${first}` : text;
}
