/** Wiring of `ztap graph`: the layout of a drawing. */

/** Graphviz is a megabyte: only who draws loads it. */
export async function layOutGraph(dot: string): Promise<string> {
  const { layOutSvg } = await import("../adapters/graphviz/svg.js");
  return layOutSvg(dot);
}
