/**
 * A graph as Mermaid's flowchart, for pull requests and wikis. Ids are our own; in every other text, all characters
 * except letters, digits and a little punctuation are written by number, which Mermaid never reads as syntax or HTML
 * (https://mermaid.js.org/syntax/flowchart.html#entity-codes-to-escape-characters).
 */
import type { Graph, GraphEdge, GraphNode } from "../../plan/graph/graph.js";
import { byNamespace, COLOURS, drawable, edgeLines, FILLS, legend, nodeLines } from "./words.js";

const ARROWS = { kept: "-->", added: "==>", removed: "-.->" } as const;
const STANDINGS = ["kept", "added", "removed"] as const;

export function renderMermaid(graph: Graph): string {
  const { namespaces, outside } = byNamespace(graph);
  const words = legend(graph);
  return [
    ...(words === null ? [] : [`%% ${words}`]),
    "flowchart LR",
    ...namespaces.flatMap(([name, nodes], index) => [
      `  subgraph s${index}[${quote([drawable(name)])}]`,
      ...nodes.map((node) => `    ${renderNode(node)}`),
      "  end",
    ]),
    ...outside.map((node) => `  ${renderNode(node)}`),
    ...graph.edges.map((edge) => `  ${edge.from} ${ARROWS[edge.standing]}|${quote(edgeLines(edge))}| ${edge.to}`),
    ...STANDINGS.flatMap((standing) => paint(standing, graph)),
  ].join("\n");
}

function renderNode(node: GraphNode): string {
  const text = quote(nodeLines(node));
  return node.kind === "workloads" ? `${node.id}[${text}]` : `${node.id}([${text}])`;
}

function paint(standing: GraphEdge["standing"], { nodes, edges }: Graph): readonly string[] {
  const ids = nodes.filter((node) => node.standing === standing).map(({ id }) => id);
  const links = [...edges.keys()].filter((index) => edges[index]?.standing === standing);
  const colour = COLOURS[standing];
  const dashes = standing === "removed" ? ",stroke-dasharray:4" : "";
  return [
    ...(ids.length === 0
      ? []
      : [
          `  classDef ${standing} fill:${FILLS[standing]},stroke:${colour},color:#1f2328${dashes}`,
          `  class ${ids.join(",")} ${standing}`,
        ]),
    ...(links.length === 0 ? [] : [`  linkStyle ${links.join(",")} stroke:${colour},color:${colour}`]),
  ];
}

function quote(lines: readonly string[]): string {
  const escaped = lines.map((line) =>
    line.replace(/[^A-Za-z0-9 ._/:,()=*+-]/gu, (character) => `#${character.codePointAt(0) ?? 0};`),
  );
  return `"${escaped.join("<br/>")}"`;
}
