/** A graph as a JSON document. */
import type { SourceRef } from "../../model/state.js";
import type { Graph } from "../../plan/graph/graph.js";

export function graphDocument(source: SourceRef, { nodes, edges, compared }: Graph): object {
  return {
    formatVersion: 1,
    source,
    compared,
    nodes,
    edges: edges.map(({ from, to, standing, entries, sharesAddress }) => ({
      ...{ from, to, standing, connections: entries },
      ...(sharesAddress === true ? { sharesAddress } : {}),
    })),
  };
}
