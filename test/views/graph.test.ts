/** Drawings hold what they are given and nothing of it as syntax, whatever a name says. */
import { XMLParser } from "fast-xml-parser";
import fc from "fast-check";
import t from "tap";
import { layOutSvg } from "../../src/adapters/graphviz/svg.js";
import type { Graph } from "../../src/plan/graph/graph.js";
import { renderDot } from "../../src/views/graph/dot.js";
import { renderMermaid } from "../../src/views/graph/mermaid.js";
import { volume } from "../volume.js";

const HOSTILE = [
  '"]; evil [label="x',
  "\\",
  'a\\" -> b; "',
  "\\N\\G\\l\\n",
  "<script>alert(1)</script>",
  "<b>bold</b>",
  "&lt;b&gt; &#60; &amp; &quot;",
  "]]> --> <!-- <![CDATA[",
  'x"] end; click n0 "javascript:alert(1)"',
  "#quot; #60; `**md**`",
  "%%{init: {}}%%",
  "line\nbreak\r\u2028\u202eturned\u0000\u001b[2J",
  "<!ENTITY x SYSTEM 'file:///etc/passwd'>",
  "$(id) `id` ${x}",
  "😀 ü 日本",
];

/** As a manifest could never name them: it stops at labels, and a drawing does not rely on it. */
function graphOf(names: readonly string[]): Graph {
  return {
    compared: true,
    nodes: names.map((name, index) => ({
      id: `n${index}`,
      kind: index % 3 === 2 ? "targets" : "workloads",
      namespace: index % 3 === 2 ? null : name,
      text: name,
      members: [name],
      standing: (["kept", "added", "removed"] as const)[index % 3] ?? "kept",
    })),
    edges: names.map((_, index) => ({
      from: `n${index}`,
      to: "n0",
      entries: [{ protocol: "TCP", ports: [[80, 80]] }],
      standing: "kept",
    })),
  };
}

/** All that an SVG of Graphviz may be made of, piece by piece; XML 1.0, sections 2.2 to 2.5. */
const PIECES =
  /<\?xml [^<>?]*\?>|<!DOCTYPE [^<>]*>|<!--(?:(?!--)[^])*-->|<\/?[a-z]+(?:\s+[\w:-]+="(?:[^"<&]|&#?\w+;)*")*\s*\/?>|&(?:amp|lt|gt|quot|apos|#\d+);|[^<&\p{C}]|\n/gu;

/** Everything that has a name in the picture: elements and attributes, as often as there are. @throws where it is no XML */
function shapeOf(svg: string): string {
  const rest = svg.replace(PIECES, "");
  if (rest !== "") throw new Error(`no XML: ${JSON.stringify(rest)}`);
  const names: string[] = [];
  const walk = (value: unknown): void => {
    if (Array.isArray(value)) value.forEach(walk);
    else if (value !== null && typeof value === "object")
      for (const [key, member] of Object.entries(value)) {
        names.push(key);
        walk(member);
      }
  };
  walk(new XMLParser({ ignoreAttributes: false, preserveOrder: true }).parse(svg));
  return names.sort().join(" ");
}

const printed = (name: string) => /^[\x20-\x7e]*$/.test(name);
const HARMLESS = HOSTILE.map((name) => "x".repeat(name.replace(/[\n\t]+/g, " ").length));

t.test("no name breaks out of DOT or SVG", async (t) => {
  const svg = await layOutSvg(renderDot(graphOf(HOSTILE)));
  t.equal(
    shapeOf(svg),
    shapeOf(await layOutSvg(renderDot(graphOf(HARMLESS)))),
    "the same elements as with harmless names",
  );
  t.notMatch(svg, /<(script|b|a|image)[ >]|javascript:alert[^<]*"[^<]*=|[\u0000-\u0008\u000b-\u001f\u2028\u202e]/);
  const texts = [...svg.matchAll(/<text [^>]*>(.*?)<\/text>/g)].map(([, text = ""]) =>
    text
      .replace(/&#(\d+);/g, (_, code: string) => String.fromCodePoint(Number(code)))
      .replaceAll("&#45;", "-")
      .replace(
        /&(lt|gt|quot|nbsp|amp);/g,
        (_, name: string) => ({ lt: "<", gt: ">", quot: '"', nbsp: " ", amp: "&" })[name] ?? "",
      ),
  );
  for (const name of HOSTILE.filter(printed))
    t.ok(
      texts.some((text) => text.replaceAll("\u00a0", " ").endsWith(name)),
      `${name} is shown as it is`,
    );
});

t.test("no name breaks out of Mermaid", async (t) => {
  const text = renderMermaid(graphOf(HOSTILE));
  const shape = (mermaid: string) => mermaid.replace(/"[^"\n]*"/g, '""');
  t.equal(shape(text), shape(renderMermaid(graphOf(HARMLESS))));
  for (const [, quoted = ""] of text.matchAll(/"([^"\n]*)"/g))
    t.match(quoted.replaceAll("<br/>", ""), /^(?:[A-Za-z0-9 ._/:,()=*+-]|#\d+;)*$/);
});

t.test("no other text breaks out of a graph", async () => {
  const harmless = renderMermaid(graphOf(["a", "b", "c"])).replace(/"[^"\n]*"/g, '""');
  await fc.assert(
    fc.asyncProperty(fc.array(fc.string({ unit: "binary" }), { minLength: 3, maxLength: 3 }), async (names) => {
      const graph = graphOf(names);
      shapeOf(await layOutSvg(renderDot(graph)));
      const shape = renderMermaid(graph).replace(/"[^"\n]*"/g, '""');
      // Equal names are one namespace, so that lines may be fewer.
      if (new Set(names).size === 3 && shape !== harmless) throw new Error(shape);
    }),
    { numRuns: volume(100, 1000) },
  );
});

t.test("the same graph gives the same picture, and shows differences without colours", async (t) => {
  const graph = graphOf(["a", "b", "c"]);
  const svg = await layOutSvg(renderDot(graph));
  t.equal(await layOutSvg(renderDot(graph)), svg);
  t.match(svg, /\+ b</);
  t.match(svg, /green, \+: opens/);
});
