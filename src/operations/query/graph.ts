/** `ztap graph`: a desired state as a graph, alone or with its difference from an earlier one. */
import type { ObjectSet } from "../../model/state.js";
import type { Graph, GraphOptions } from "../../plan/graph/graph.js";
import { drawGraph } from "../../plan/graph/graph.js";
import { GraphTooLarge } from "../../plan/graph/limits.js";
import { TooManyPortSets } from "../../policy/reachability/port-sets.js";
import { OperationError } from "../../model/operation-error.js";

/**
 * Returns the graph.
 * @throws OperationError `not-found` for a namespace without workloads, `unsupported` if it is too large to draw
 */
export function graphOf(objects: ObjectSet, options: GraphOptions): Graph {
  const { before, namespace } = options;
  if (namespace !== undefined && ![objects, before].some((state) => hasWorkload(state, namespace)))
    throw new OperationError("not-found", `there is no workload in the namespace ${JSON.stringify(namespace)}`);
  try {
    return drawGraph(objects, options);
  } catch (error) {
    if (!(error instanceof GraphTooLarge || error instanceof TooManyPortSets)) throw error;
    throw new OperationError(
      "unsupported",
      `no graph is drawn: ${error.message}; narrow it with --namespace NAME, or use \`ztap connectivity\`, which lists everything`,
      { cause: error },
    );
  }
}

function hasWorkload(objects: ObjectSet | null, namespace: string): boolean {
  return [...(objects?.values() ?? [])].some(({ ref }) => ref.kind === "Workload" && ref.namespace === namespace);
}
