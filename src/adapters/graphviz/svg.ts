/** DOT → SVG, laid out by Graphviz as WebAssembly: no program is run, and nothing is read or written. */
import { instance } from "@viz-js/viz";

/** The same text gives the same picture. @throws where Graphviz does not understand it, which is our mistake */
export async function layOutSvg(dot: string): Promise<string> {
  const graphviz = await instance();
  return graphviz.renderString(dot, { format: "svg", engine: "dot" });
}
