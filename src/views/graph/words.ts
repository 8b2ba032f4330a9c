/** The texts of nodes and edges, for every format. Every word from Git becomes one line of printable text. */
import { printableLine } from "../../model/printable.js";
import type { Graph, GraphEdge, GraphNode } from "../../plan/graph/graph.js";
import type { DiffStatus } from "../../plan/graph/standing.js";
import { describePorts } from "../connectivity.js";

/** The sign and the dashes show the difference without colours. */
export const COLOURS: Readonly<Record<DiffStatus, string>> = { kept: "#6e7781", added: "#1a7f37", removed: "#cf222e" };
export const FILLS: Readonly<Record<DiffStatus, string>> = { kept: "#ffffff", added: "#dafbe1", removed: "#ffebe9" };
const SIGNS: Readonly<Record<DiffStatus, string>> = { kept: "", added: "+ ", removed: "- " };

/** A line on a node is broken at the first comma after this many characters. */
const LINE_LENGTH = 36;
/** The largest label of an edge; `ztap connectivity` has all entries. */
const EDGE_LINES = 4;
const EDGE_LENGTH = 40;

export function nodeLines({ text, standing }: GraphNode): readonly string[] {
  const lines: string[] = [];
  for (const part of drawable(`${SIGNS[standing]}${text}`).split(/(?<=,) /)) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + part.length < LINE_LENGTH) lines[lines.length - 1] = `${last} ${part}`;
    else lines.push(part);
  }
  return lines;
}

/** Also replaces characters that XML does not allow (lone surrogates, U+FFFE and U+FFFF) and invisible ones. */
export function drawable(text: string): string {
  return printableLine(text).replace(/\p{C}/gu, "\ufffd");
}

export function edgeLines({ entries, standing, sharesAddress }: GraphEdge): readonly string[] {
  const lines = entries.map((entry) => `${SIGNS[standing]}${shorten(describePorts(entry))}`);
  if (sharesAddress === true) return [...shortList(lines), "(by a shared address)"];
  return shortList(lines);
}

function shortList(lines: readonly string[]): readonly string[] {
  return lines.length > EDGE_LINES
    ? [...lines.slice(0, EDGE_LINES - 1), `and ${lines.length - EDGE_LINES + 1} protocols more`]
    : lines;
}

function shorten(ports: string): string {
  if (ports.length <= EDGE_LENGTH) return ports;
  const parts = ports.split(",");
  let shown = 1;
  while (parts.slice(0, shown + 1).join(",").length < EDGE_LENGTH - 10) shown += 1;
  return `${parts.slice(0, shown).join(",")} and ${parts.length - shown} more`;
}

/** Returns the namespaces with their workloads, in order, then the nodes without a namespace. */
export function byNamespace({ nodes }: Graph): {
  readonly namespaces: readonly (readonly [string, readonly GraphNode[]])[];
  readonly outside: readonly GraphNode[];
} {
  const namespaces = new Map<string, GraphNode[]>();
  const outside: GraphNode[] = [];
  for (const node of nodes) {
    if (node.namespace === null) outside.push(node);
    else namespaces.set(node.namespace, [...(namespaces.get(node.namespace) ?? []), node]);
  }
  return { namespaces: [...namespaces], outside };
}

/** Returns the legend; null if nothing is compared. */
export function legend({ compared, nodes, edges }: Graph): string | null {
  if (!compared) return null;
  const differs = [...nodes, ...edges].some(({ standing }) => standing !== "kept");
  return differs ? "green, +: opens    red, dashed, -: closes    grey: stays" : "nothing opens or closes";
}
