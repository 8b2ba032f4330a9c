/** Wiring of `ztap graph`: computes the layout of a drawing. */

/** Graphviz is a megabyte: it is loaded only for a drawing. */
export async function layOutGraph(dot: string): Promise<string> {
  const { layOutSvg } = await import("../adapters/graphviz/svg.js");
  return layOutSvg(dot);
}
