/** How large a graph may be to be drawn. */

/** More than a person can read, and more than a layout is computed for in a few seconds. */
export const MAX_NODES = 150;
export const MAX_EDGES = 400;

/** A drawing of it would help nobody. */
export class GraphTooLarge extends Error {
  override readonly name = "GraphTooLarge";
  constructor() {
    super(
      `the graph has more than ${MAX_NODES} nodes or ${MAX_EDGES} edges, even with all workloads that are alike as one`,
    );
  }
}
