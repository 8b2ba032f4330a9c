/**
 * A graph as DOT, the language of Graphviz. Ids are our own; every other text is in a quoted string, in which only `"`
 * and `\` have a meaning for the parser, and `&` for labels (https://graphviz.org/doc/info/lang.html).
 */
import type { Graph, GraphEdge, GraphNode } from "../../plan/graph/graph.js";
import { byNamespace, COLOURS, drawable, edgeLines, FILLS, legend, nodeLines } from "./words.js";

const FONT = "Helvetica,Arial,sans-serif";

export function renderDot(graph: Graph): string {
  const { namespaces, outside } = byNamespace(graph);
  const words = legend(graph);
  const caption = words === null ? "" : ` label=${quote([words])} labelloc=b`;
  return [
    "digraph ztap {",
    `  graph [rankdir=LR bgcolor=white pad=0.3 nodesep=0.3 ranksep=0.9 fontname="${FONT}" fontsize=11 fontcolor="#57606a"${caption}]`,
    `  node [shape=box style="rounded,filled" fontname="${FONT}" fontsize=12]`,
    `  edge [fontname="${FONT}" fontsize=10 arrowsize=0.7]`,
    ...namespaces.flatMap(([name, nodes], index) => [
      `  subgraph cluster_${index} {`,
      `    graph [label=${quote([drawable(name)])} labeljust=l labelloc=t style="rounded,filled" fillcolor="#f6f8fa" color="#d0d7de" fontsize=12 margin=14]`,
      ...nodes.map((node) => `    ${renderNode(node)}`),
      "  }",
    ]),
    ...outside.map((node) => `  ${renderNode(node)}`),
    ...graph.edges.map((edge) => `  ${renderEdge(edge)}`),
    "}",
  ].join("\n");
}

function renderNode(node: GraphNode): string {
  const { id, kind, standing } = node;
  const dashes = standing === "removed" ? ",dashed" : "";
  const look = kind === "workloads" ? `"rounded,filled${dashes}"` : `"filled${dashes}"`;
  const lines = nodeLines(node);
  const longest = Math.max(...lines.map(({ length }) => length));
  // The layout is computed with Helvetica; if the viewer has none, its font may be up to a fifth wider.
  const margin = `"${(0.16 + 0.006 * longest).toFixed(2)},0.09"`;
  const shape = kind === "workloads" ? "" : " shape=note";
  return `${id} [label=${quote(lines)}${shape} margin=${margin} style=${look} color="${COLOURS[standing]}" fillcolor="${FILLS[standing]}"]`;
}

function renderEdge(edge: GraphEdge): string {
  const { from, to, standing } = edge;
  const colour = COLOURS[standing];
  const line = { kept: "", added: " penwidth=2", removed: " style=dashed penwidth=1.5" }[standing];
  return `${from} -> ${to} [label=${quote(edgeLines(edge))} color="${colour}" fontcolor="${colour}"${line}]`;
}

/**
 * Quotes lines, joined by DOT's own `
 * `, which no text can produce, since its backslashes are doubled.
 */
function quote(lines: readonly string[]): string {
  const escaped = lines.map((line) => line.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("&", "&amp;"));
  return `"${escaped.join("\\n")}"`;
}
