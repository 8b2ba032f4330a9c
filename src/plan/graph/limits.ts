/** Limits for the size of a graph that can be drawn. */

/** More nodes than this a person cannot read, and no layout is computed for them within a few seconds. */
export const MAX_NODES = 150;
export const MAX_EDGES = 400;

/** The graph is too large for a readable drawing. */
export class GraphTooLarge extends Error {
  override readonly name = "GraphTooLarge";
  constructor() {
    super(
      `the graph has more than ${MAX_NODES} nodes or ${MAX_EDGES} edges, even with all workloads that are alike as one`,
    );
  }
}
