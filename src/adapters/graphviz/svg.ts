/** Renders DOT as SVG, laid out by Graphviz as WebAssembly: no program is run, and nothing is read or written. */
import { instance } from "@viz-js/viz";

/**
 * Returns the same picture for the same text.
 * @throws if Graphviz does not understand it, which is a bug of ours
 */
export async function layOutSvg(dot: string): Promise<string> {
  const graphviz = await instance();
  return graphviz.renderString(dot, { format: "svg", engine: "dot" });
}
